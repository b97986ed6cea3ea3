"""Who runs, and what they hold for it."""

from collections import Counter
from collections.abc import Iterator
from operator import attrgetter

from motet.engine.plan import BASE_SLOT
from motet.engine.policy import SchedulingPolicy
from motet.engine.sequence import Sequence, SequenceState
from motet.engine.slots import SlotTable
from motet.memory.adapter_cache import AdapterState
from motet.memory.agreement import must_agree
from motet.memory.manager import MemoryManager
from motet.memory.prefix import num_on_device
from motet.memory.transition import move


class RunningSet:
    """The one place where sequences take pages, slots and adapters, and give them back."""

    def __init__(self, memory: MemoryManager, num_slots: int, max_rows: int) -> None:
        self._memory = memory
        self._slots = SlotTable(num_slots)
        self._max_rows = max_rows
        self._sequences: dict[Sequence, None] = {}

    def __len__(self) -> int:
        return len(self._sequences)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._sequences)

    def __contains__(self, sequence: Sequence) -> bool:
        return sequence in self._sequences

    @property
    def is_full(self) -> bool:
        return len(self._sequences) >= self._max_rows

    def has_slot_for(self, adapter: AdapterState) -> bool:
        """Of an adapter whose content is known."""
        assert adapter.digest is not None
        return self._slots.has_room(adapter.digest)

    def in_order(self) -> list[Sequence]:
        """By rank."""
        return sorted(self._sequences, key=attrgetter("rank"))

    def victim(self, policy: SchedulingPolicy) -> Sequence | None:
        """Whom to preempt: never the first of these, for whom all others make way."""
        first = min(self._sequences, key=attrgetter("rank"))
        others = [sequence for sequence in self._sequences if sequence is not first]
        return policy.victim(others) if others else None

    def start(self, sequence: Sequence) -> None:
        """All that the sequence wants is on the device, and there is a slot."""
        memory, adapter = self._memory, sequence.adapter
        move(sequence, SequenceState.RUNNING)
        chain, sequence.prefix = sequence.prefix, []
        memory.kv.let_go(chain, sequence.rank)
        prefix = chain[: num_on_device(chain)]
        assert sequence.namespace is not None
        sequence.table = memory.kv.open(sequence.namespace, prefix, sequence.rank)
        sequence.num_computed = len(prefix) * memory.kv.page_tokens
        if adapter is not None:
            assert adapter.digest is not None
            sequence.slot = self._slots.acquire(adapter.digest)
            memory.adapters.acquire(adapter)
        self._sequences[sequence] = None

    def abandon(self, sequence: Sequence) -> None:
        """It runs no longer, but a step still writes to its pages: let go of it when that ends."""
        assert sequence.table is not None
        self._memory.kv.quarantine(sequence.table)
        del self._sequences[sequence]

    def let_go(self, sequence: Sequence) -> None:
        """The one path on which a sequence gives back everything it holds."""
        assert sequence.table is not None
        self._sequences.pop(sequence, None)
        call = sequence.request.agent
        if sequence.agent is not None and call is not None:
            self._memory.agents.rest(sequence.agent, call, sequence.table.nodes)
        self._memory.kv.close(sequence.table)
        sequence.table = None
        sequence.slot = BASE_SLOT
        adapter = sequence.adapter
        if adapter is not None:
            assert adapter.digest is not None
            self._slots.release(adapter.digest)
            self._memory.adapters.release(adapter)

    def check(self, abandoned: list[Sequence]) -> None:
        """Raise BrokenInvariant unless slots and references are those of these sequences."""
        users = Counter(s.adapter for s in (*self._sequences, *abandoned) if s.adapter)
        slots = {adapter.digest: count for adapter, count in users.items()}
        must_agree("users of slots", self._slots.users(), slots)
        must_agree("references on adapters", self._memory.adapters.references(), dict(users))
        for sequence in (*self._sequences, *abandoned):
            must_agree(f"{sequence} has pages", sequence.table is not None, True)
