"""What runs in the next step: events in, one plan out. No clock, no device, no waiting."""

from bisect import insort
from operator import attrgetter

from motet.engine.admission import Demand, Demands
from motet.engine.config import BatchConfig
from motet.engine.draft import Draft
from motet.engine.events import Aborted, AdapterRegistered, Arrived, Event, StepFinished
from motet.engine.lengths import LengthEstimator
from motet.engine.output import EngineStats, FinishReason, TokenLogprobs, TokenOutput
from motet.engine.plan import BASE_SLOT, Row, SampledToken, StepPlan, StepResult
from motet.engine.policy import SchedulingPolicy
from motet.engine.refusal import refusal
from motet.engine.request import Request
from motet.engine.sequence import SEQUENCE, Sequence, SequenceState
from motet.engine.slots import SlotTable
from motet.memory.agreement import must_agree
from motet.memory.manager import AdapterState, MemoryManager
from motet.memory.page import PageOwner
from motet.memory.prefix import PrefixNode
from motet.memory.residency import Residency
from motet.memory.transition import move

MAX_PREEMPTIONS = 3
"""A request preempted so often runs again only once it is the oldest, which is never preempted."""

RUNNING, FINISHED = SequenceState.RUNNING, SequenceState.FINISHED
"""Asked for each row: taken from the enum, each would cost as much as a call."""

Outputs = tuple[TokenOutput, ...]


class Scheduler:
    """Continuous batching over one page pool.

    `handle` takes events at any time and returns what clients should hear. `plan` is asked for
    while `has_work` and no step is in flight; every plan must be executed and its result handed
    back as `StepFinished`. The same events give the same plans.
    """

    def __init__(
        self,
        batch: BatchConfig,
        max_model_len: int,
        memory: MemoryManager,
        policy: SchedulingPolicy,
    ) -> None:
        self.memory = memory
        self._max_batch_tokens = batch.max_batch_tokens
        self._max_rows = min(batch.max_batch_rows, batch.max_batch_tokens)  # a row takes a token
        self._max_model_len = max_model_len
        self._policy = policy
        self._slots = SlotTable(batch.max_batch_adapters)
        self._lengths = LengthEstimator()
        self._sequences: dict[str, Sequence] = {}  # unfinished, oldest first
        self._waiting: list[Sequence] = []  # oldest first
        self._admitted: dict[Sequence, None] = {}  # LOADING or RUNNING
        self._in_flight: dict[Sequence, Row] | None = None
        self._num_arrived = self._num_steps = self._num_preemptions = 0
        self._num_query_tokens = self._num_hit_tokens = 0

    @property
    def has_work(self) -> bool:
        return bool(self._sequences) or self.memory.pool.count(PageOwner.TRANSFER) > 0

    @property
    def running(self) -> tuple[Sequence, ...]:
        """Sequences that may have a row in the next step."""
        return tuple([s for s in self._admitted if s.state is RUNNING])

    def handle(self, event: Event) -> Outputs:
        """Take note of what happened. Never fails on input: a bad request is refused."""
        match event:
            case Arrived(request, _):
                return self._arrive(request)
            case Aborted(request_id):
                return self._abort(request_id)
            case AdapterRegistered(adapter):
                self.memory.register(adapter)
                return ()
            case StepFinished(result, _):
                return self._finish_step(result)

    def plan(self, now: float) -> StepPlan:
        """The next step: rows that already run first, decodes before prefills, then new ones."""
        assert self._in_flight is None, "the previous step has not finished"
        draft = Draft(self._max_batch_tokens)
        self._continue_running(draft)
        self._admit(draft)
        self._num_steps += 1
        self._in_flight = draft.rows()
        return draft.plan(self._num_steps, self._in_flight, self.memory)

    def preempt(self, sequence: Sequence) -> None:
        """Take everything from an admitted sequence; it waits again in its old place."""
        assert self._in_flight is None
        move(sequence, SequenceState.PREEMPTED, SEQUENCE)
        self._let_go(sequence)
        sequence.num_computed = 0
        sequence.num_preemptions += 1
        self._num_preemptions += 1
        move(sequence, SequenceState.WAITING, SEQUENCE)
        insort(self._waiting, sequence, key=lambda waiting: waiting.arrival)

    def stats(self) -> EngineStats:
        memory, num_running = self.memory, len(self.running)
        return EngineStats(
            num_running=num_running,
            num_waiting=len(self._sequences) - num_running,
            pages_free=memory.pool.num_free,
            pages_kv=memory.pool.count(PageOwner.KV),
            pages_adapter=memory.pool.count(PageOwner.ADAPTER),
            pages_transfer=memory.pool.count(PageOwner.TRANSFER),
            pages_quarantined=memory.pool.count(PageOwner.QUARANTINED),
            idle_pages_kv=memory.idle_pages(PageOwner.KV),
            idle_pages_adapter=memory.idle_pages(PageOwner.ADAPTER),
            kv_page_evictions=memory.counters.kv_page_evictions,
            adapter_page_evictions=memory.counters.adapter_page_evictions,
            adapter_loads=memory.counters.adapter_loads,
            preemptions=self._num_preemptions,
            prefix_query_tokens=self._num_query_tokens,
            prefix_hit_tokens=self._num_hit_tokens,
            steps=self._num_steps,
        )

    def check(self) -> None:
        """Raise BrokenInvariant where two views of the same fact disagree."""
        self.memory.check()
        waiting = {s for s in self._sequences.values() if s.state is SequenceState.WAITING}
        admitted = {s for s in self._sequences.values() if s not in waiting}
        must_agree("waiting sequences", set(self._waiting), waiting)
        must_agree("admitted sequences", set(self._admitted), admitted)
        leaving = {s for s in self._in_flight or () if s.state is SequenceState.FINISHED}
        holders = [s for s in (*admitted, *leaving) if s.request.adapter]
        users: dict[str, int] = {}
        for sequence in holders:
            digest = sequence.adapter_digest
            assert digest is not None
            users[digest] = users.get(digest, 0) + 1
        must_agree("users of slots", self._slots.users(), users)
        must_agree("references on adapters", self.memory.adapter_references(), users)
        for sequence in (*admitted, *leaving, *waiting):
            must_agree(f"{sequence} has pages", sequence.table is not None, sequence not in waiting)

    # What happened.

    def _arrive(self, request: Request) -> Outputs:
        error = refusal(request, self._max_model_len, self.memory)
        if error is None and request.request_id in self._sequences:
            error = f"request id '{request.request_id}' is in use: choose another one"
        if error is not None:
            return (_end(request.request_id, FinishReason.REFUSED, error),)
        self._num_arrived += 1
        sequence = Sequence(request, self._num_arrived)
        self._sequences[request.request_id] = sequence
        self._waiting.append(sequence)
        return ()

    def _abort(self, request_id: str) -> Outputs:
        sequence = self._sequences.get(request_id)
        if sequence is None:
            return ()
        if sequence.state is SequenceState.WAITING:
            self._waiting.remove(sequence)
        return (self._finish(sequence, FinishReason.ABORT),)

    def _finish_step(self, result: StepResult) -> Outputs:
        assert self._in_flight is not None and result.step == self._num_steps
        rows, self._in_flight = self._in_flight, None
        for digest in result.loaded:
            self._finish_load(digest)
        tokens, scored = iter(result.tokens), iter(result.scores)
        outputs: list[TokenOutput] = []
        for sequence, row in rows.items():
            token = next(tokens) if row.sampling else None
            assert token is None or token.request_id == row.request_id
            scores = next(scored).logprobs if row.targets else ()
            if sequence.state is FINISHED:  # aborted while the step ran
                self._let_go(sequence)
                continue
            outputs += self._advance(sequence, row, token, scores)
        return tuple(outputs)

    def _finish_load(self, digest: str) -> None:
        self.memory.finish_load(digest)
        for sequence in self._admitted:
            if sequence.state is SequenceState.LOADING and sequence.adapter_digest == digest:
                move(sequence, SequenceState.RUNNING, SEQUENCE)

    def _advance(
        self,
        sequence: Sequence,
        row: Row,
        token: SampledToken | None,
        scores: tuple[TokenLogprobs, ...] | None,
    ) -> Outputs:
        table = sequence.table
        assert table is not None
        if scores is None or (token is not None and token.token_id is None):
            output = self._finish(sequence, FinishReason.OVERFLOW, _overflow(sequence.request))
            self.memory.forget(table)  # earlier chunks may be no better than this one
            return (output,)
        sequence.num_computed = row.end
        self.memory.seal(table, sequence.tokens, sequence.num_computed)
        news = sequence.advance(token, scores)
        if news is None:
            return ()
        if news.finish_reason is not None:
            self._finish(sequence, news.finish_reason)
        return (news,)

    def _finish(
        self, sequence: Sequence, reason: FinishReason, error: str | None = None
    ) -> TokenOutput:
        move(sequence, SequenceState.FINISHED, SEQUENCE)
        del self._sequences[sequence.request.request_id]
        if self._in_flight is not None and sequence in self._in_flight:
            assert sequence.table is not None
            self.memory.quarantine(sequence.table)  # the step still writes: let go when it ends
            del self._admitted[sequence]
        elif sequence.table is not None:
            self._let_go(sequence)
        if reason in (FinishReason.STOP, FinishReason.LENGTH) and sequence.num_generated > 0:
            self._lengths.finished(sequence.adapter_digest, sequence.num_generated)
        return _end(sequence.request.request_id, reason, error, sequence.num_generated)

    def _let_go(self, sequence: Sequence) -> None:
        """The one path on which a sequence gives back everything it holds."""
        assert sequence.table is not None
        self._admitted.pop(sequence, None)
        self.memory.close(sequence.table)
        sequence.table = None
        sequence.slot = BASE_SLOT
        digest = sequence.adapter_digest
        if digest is not None:
            self._slots.release(digest)
            self.memory.release_adapter(self._adapter(digest))

    # What to do next.

    def _continue_running(self, draft: Draft) -> None:
        oldest_first = sorted(self.running, key=attrgetter("arrival"))
        pending = [(sequence, sequence.num_pending) for sequence in oldest_first]
        pending.sort(key=_is_prefill)
        for sequence, num_pending in pending:
            num_tokens = min(num_pending, draft.budget)
            if num_tokens == 0:
                return
            if sequence.state is not RUNNING:  # preempted for one before it
                continue
            if self._make_room(sequence, sequence.num_computed + num_tokens, draft):
                draft.add(sequence, num_tokens)

    def _make_room(self, sequence: Sequence, num_tokens: int, draft: Draft) -> bool:
        """Pages for the first `num_tokens` positions, preempting others where it must."""
        assert sequence.table is not None
        while not self.memory.grow(sequence.table, num_tokens):
            victim = self._victim()
            if victim is None:
                return False
            draft.discard(victim)
            self.preempt(victim)
            if victim is sequence:
                return False
        return True

    def _victim(self) -> Sequence | None:
        """Never the oldest admitted: it makes progress whatever happens.

        Who still loads is taken last, since pages that a copy is filling cannot be freed.
        """
        oldest = min(self._admitted, key=lambda sequence: sequence.arrival)
        others = [sequence for sequence in self._admitted if sequence is not oldest]
        running = [sequence for sequence in others if sequence.state is SequenceState.RUNNING]
        candidates = running or others
        return self._policy.victim(candidates) if candidates else None

    def _admit(self, draft: Draft) -> None:
        if not self._waiting or self._is_full(draft):
            return
        oldest = next(iter(self._sequences.values()))
        admitted = (self._demand(sequence) for sequence in self._admitted)
        demands = Demands(admitted, self.memory.page_tokens)
        is_short_of_slots = False
        for sequence in self._policy.admission_order(self._waiting):
            digest = sequence.adapter_digest
            if self._is_full(draft):
                break
            if sequence.num_preemptions >= MAX_PREEMPTIONS and sequence is not oldest:
                continue
            # Base rows may pass one that waits for a slot: they do not make it wait longer.
            if digest is not None and (is_short_of_slots or not self._slots.has_room(digest)):
                is_short_of_slots = True
                continue
            if not self._try_admit(sequence, demands, draft):
                break
        self._waiting = [s for s in self._waiting if s.state is SequenceState.WAITING]

    def _is_full(self, draft: Draft) -> bool:
        return draft.budget == 0 or len(self._admitted) == self._max_rows

    def _try_admit(self, sequence: Sequence, demands: Demands, draft: Draft) -> bool:
        """Admit if it fits; `demands` are those of all admitted."""
        memory, request = self.memory, sequence.request
        namespace = memory.namespace(request.adapter, request.cache_salt)
        prefix = memory.match(namespace, sequence.tokens, sequence.num_skippable)
        adapter = self._adapter(request.adapter.digest) if request.adapter else None
        demand = self._demand(sequence, num_borrowed=len(prefix))
        if not demands.fit_with(demand, self._room(prefix, adapter)):
            return False
        demands.add(demand)
        sequence.table = memory.open_table(namespace, prefix)
        sequence.num_computed = len(prefix) * memory.page_tokens
        if sequence.num_cached is None:
            sequence.num_cached = sequence.num_computed
            self._num_query_tokens += len(sequence.tokens)
            self._num_hit_tokens += sequence.num_computed
        self._admitted[sequence] = None
        is_loading = adapter is not None and self._bind(sequence, adapter, draft)
        to = SequenceState.LOADING if is_loading else SequenceState.RUNNING
        move(sequence, to, SEQUENCE)
        num_tokens = min(sequence.num_pending, draft.budget)
        if not is_loading and memory.grow(sequence.table, sequence.num_computed + num_tokens):
            draft.add(sequence, num_tokens)
        return True

    def _bind(self, sequence: Sequence, adapter: AdapterState, draft: Draft) -> bool:
        """Take a slot and a reference on the adapter; True when it has to be loaded first."""
        sequence.slot = self._slots.acquire(adapter.digest)
        is_absent = adapter.state is Residency.HOST
        has_pages = self.memory.acquire_adapter(adapter)
        assert has_pages, "admission counted the pages of the adapter"
        if is_absent:
            draft.loads.append(adapter)
        return adapter.state is Residency.LOADING

    def _demand(self, sequence: Sequence, num_borrowed: int | None = None) -> Demand:
        """`num_borrowed` stands in for the table of a sequence that has none yet."""
        if num_borrowed is None:
            assert sequence.table is not None
            num_borrowed = sequence.table.num_borrowed
        page_tokens, num_tokens = self.memory.page_tokens, len(sequence.tokens)
        num_pages = self.memory.pages_for(num_tokens)
        expected = self._lengths.expected(sequence.adapter_digest) - sequence.num_generated
        limit = sequence.request.sampling.max_tokens - sequence.num_generated
        return Demand(
            pages=num_pages - num_borrowed,
            slack=num_pages * page_tokens - num_tokens,
            remaining=min(max(expected, page_tokens), limit),
        )

    def _room(self, prefix: list[PrefixNode], adapter: AdapterState | None) -> int:
        """Pages for what sequences compute themselves, beside everything else that is in use.

        A request that is admitted uses its prefix and its adapter as well.
        """
        memory = self.memory
        num_others = memory.num_busy_pages - memory.num_own_pages
        num_others += sum(node.num_pages for node in prefix if node.is_idle)
        if adapter is not None and (adapter.is_idle or adapter.state is Residency.HOST):
            num_others += adapter.size
        return memory.pool.num_pages - num_others

    def _adapter(self, digest: str) -> AdapterState:
        adapter = self.memory.adapter(digest)
        assert adapter is not None
        return adapter


def _is_prefill(pending: tuple[Sequence, int]) -> bool:
    return pending[1] > 1


def _overflow(request: Request) -> str:
    whose = f"adapter '{request.adapter.name}'" if request.adapter else "the model"
    return f"the output of {whose} is not finite for this prompt: its weights are too large"


def _end(
    request_id: str, reason: FinishReason, error: str | None = None, index: int = 0
) -> TokenOutput:
    return TokenOutput(request_id, index, None, finish_reason=reason, error=error)
