"""Who begins to run: the first in order of rank, as long as what each will need fits."""

from motet.engine.demand import Demand, Demands, demand_of
from motet.engine.lengths import LengthEstimator
from motet.engine.queue import Candidates, WaitingQueue
from motet.engine.running import RunningSet
from motet.engine.sequence import Sequence
from motet.engine.step_builder import StepBuilder
from motet.engine.thrash import ThrashGuard
from motet.memory.manager import MemoryManager
from motet.memory.prefix import num_leased, num_on_device
from motet.memory.residency import Rank

MAX_PREEMPTIONS = 3
"""A request preempted so often runs again only once it is the first, which is never preempted."""


class Admission:
    """Asks memory for what is wanted and admits those for whom all of it is there.

    Whoever waits for a copy is skipped. Who does not fit holds up all behind it: otherwise small
    requests would keep a large one out for ever.
    """

    def __init__(
        self,
        memory: MemoryManager,
        queue: WaitingQueue,
        running: RunningSet,
        lengths: LengthEstimator,
        guard: ThrashGuard,
    ) -> None:
        self._memory = memory
        self._queue = queue
        self._running = running
        self._lengths = lengths
        self._guard = guard
        self._vain: tuple[int, int] | None = None
        self.num_growing = 0
        """Pages that those who run will need besides what they have, as far as was last counted."""
        self.restoring: dict[Sequence, None] = {}
        """Waiting sequences parts of whose prefix are on their way."""
        self.is_short = False
        """Somebody waits for pages, or for a copy that cannot begin: nothing that is needed later
        may take what is left, as far as was last seen."""

    @property
    def is_vain(self) -> bool:
        """Nothing has changed since nobody could be admitted."""
        return self._vain == (self._queue.version, self._memory.version)

    def admit(self, builder: StepBuilder) -> list[Sequence]:
        """Start who can start now, each with a row in the step."""
        if self.is_vain:
            return []
        demands = Demands(map(self._demand, self._running), self._memory.kv.page_tokens)
        self.num_growing = max(0, demands.peak - self._memory.kv.num_own_pages)
        limit = self._memory.adapters.load_wanted(self.num_growing)
        self.is_short = self._memory.adapters.has_to_load
        if not self._queue:
            self._vain = (self._queue.version, self._memory.version)
            return []
        candidates = self._queue.candidates((None, *self._memory.adapters.ready))
        admitted = self._admit_in_order(candidates, demands, limit, builder)
        candidates.close()
        if builder.budget and not admitted:  # else the next adapter may be loaded
            self._vain = (self._queue.version, self._memory.version)
        return admitted

    def _admit_in_order(
        self, candidates: Candidates, demands: Demands, limit: Rank | None, builder: StepBuilder
    ) -> list[Sequence]:
        """Nobody behind `limit`, whose adapter needs the room first."""
        admitted: list[Sequence] = []
        while builder.budget and not self._running.is_full:
            sequence = candidates.first()
            if sequence is None or (limit is not None and sequence.rank > limit):
                break
            adapter = sequence.adapter
            if (
                sequence.num_preemptions >= MAX_PREEMPTIONS
                and not self._is_first(sequence, candidates)
            ) or not self._guard.admits(sequence.agent, len(self._running)):
                candidates.pass_over()
            elif adapter is not None and not self._running.has_slot_for(adapter):
                # Base rows may pass one that waits for a slot: they do not make it wait longer.
                candidates.pass_over_adapters()
            elif adapter is not None and adapter not in self._memory.adapters.ready:
                candidates.pass_over_group()  # it has made way for one before
            elif not self._fits(sequence, demands):
                self.is_short = True
                break
            elif self._memory.kv.restore(
                sequence.prefix, sequence.rank, is_idle=len(self._running) == 0
            ):
                sequence.waits_for_prefix(self._memory.copies.now)
                self.restoring[sequence] = None
                self.is_short |= num_leased(sequence.prefix) == num_on_device(sequence.prefix)
                candidates.pass_over()
            else:
                candidates.take()
                self.restoring.pop(sequence, None)
                self._running.start(sequence)
                if sequence.agent is not None:
                    self._guard.begun(sequence.agent)
                self._add_row(sequence, builder)
                admitted.append(sequence)
        return admitted

    def _fits(self, sequence: Sequence, demands: Demands) -> bool:
        """Also when all are at their largest; then it is one of them."""
        memory, chain = self._memory, sequence.prefix
        assert sequence.namespace is not None
        memory.kv.match(chain, sequence.namespace, sequence.tokens, sequence.num_skippable)
        prefix = chain[: num_on_device(chain)]
        demand = self._demand(sequence, num_borrowed=num_leased(chain))
        num_pages = memory.pages_beside(sequence.rank, prefix, sequence.adapter)
        if not demands.fit_with(demand, num_pages):
            return False
        demands.add(demand)
        return True

    def _demand(self, sequence: Sequence, num_borrowed: int | None = None) -> Demand:
        """`num_borrowed` stands in for the table of a sequence that has none yet."""
        if num_borrowed is None:
            assert sequence.table is not None
            num_borrowed = sequence.table.num_borrowed
        expected = sequence.announced_tokens
        if expected is None:
            expected = self._lengths.expected(sequence.adapter_digest)
        return demand_of(sequence, num_borrowed, expected, self._memory.kv.page_tokens)

    def _is_first(self, sequence: Sequence, candidates: Candidates) -> bool:
        """Of all that are unfinished. Whoever waits is asked last: they may be many."""
        is_before_running = all(sequence.rank < other.rank for other in self._running)
        return is_before_running and candidates.is_first_of_all(sequence)

    def _add_row(self, sequence: Sequence, builder: StepBuilder) -> None:
        assert sequence.table is not None
        num_tokens = min(sequence.num_pending, builder.budget)
        num_tokens_then = sequence.num_computed + num_tokens
        if self._memory.kv.grow(sequence.table, num_tokens_then):
            builder.add(sequence, num_tokens)
        else:
            self._memory.write_back_for(sequence.table, num_tokens_then)
