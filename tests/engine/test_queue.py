"""The queue gives those who wait in order, whoever comes and goes."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from motet.engine.queue import WaitingQueue
from motet.engine.sequence import Sequence, SequenceState
from motet.memory.adapter import Adapter
from motet.memory.eviction import LeastRecentlyUsed
from motet.memory.lazy_heap import MIN_ENTRIES
from motet.memory.manager import MemoryManager
from motet.memory.prefix import Namespace
from motet.memory.transition import move
from tests.engine.factories import a_request, an_adapter

ADAPTERS = [None, *(an_adapter(f"a{i}") for i in range(3))]


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        memory = MemoryManager(32, 4, "base", LeastRecentlyUsed())
        for adapter in ADAPTERS[1:]:
            assert adapter is not None
            memory.adapters.register(adapter)
        self.adapters = memory.adapters
        self.queue = WaitingQueue(memory.adapters)
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.num_arrived = 0

    @rule(adapter=st.sampled_from(ADAPTERS), order=st.integers(0, 3))
    def arrive(self, adapter: Adapter | None, order: int) -> None:
        self.num_arrived += 1
        request = a_request(1, adapter=adapter)
        rank = (float(order), self.num_arrived)
        sequence = Sequence(request, rank, Namespace("base", None, ""))
        self.queue.add(sequence)
        self.waiting.append(sequence)

    @precondition(lambda self: self.waiting)
    @rule(choice=st.integers(0, 99))
    def abort(self, choice: int) -> None:
        sequence = self.waiting.pop(choice % len(self.waiting))
        move(sequence, SequenceState.FINISHED)
        self.queue.abort(sequence)

    @rule(digests=st.sets(st.sampled_from(ADAPTERS)), does=st.lists(st.integers(0, 3), max_size=9))
    def admit(self, digests: set[object], does: list[int]) -> None:
        """0 passes over, 1 passes over the group, 2 the adapters, 3 takes."""
        groups = {getattr(adapter, "digest", None) for adapter in digests}
        candidates = self.queue.candidates(groups)
        expected = sorted(
            (s for s in self.waiting if s.adapter_digest in groups), key=lambda s: s.rank
        )
        for what in does:
            first = candidates.first()
            assert first is (expected[0] if expected else None)
            if first is None:
                break
            digest = first.adapter_digest
            if what == 0:
                candidates.pass_over()
                del expected[0]
            elif what == 1:
                candidates.pass_over_group()
                expected = [s for s in expected if s.adapter_digest != digest]
            elif what == 2:
                candidates.pass_over_adapters()
                expected = [s for s in expected if s.adapter_digest is None]
            else:
                candidates.take()
                move(first, SequenceState.RUNNING)
                del expected[0]
                self.waiting.remove(first)
                self.running.append(first)
        candidates.close()

    @precondition(lambda self: self.running)
    @rule(choice=st.integers(0, 99))
    def preempt(self, choice: int) -> None:
        sequence = self.running.pop(choice % len(self.running))
        move(sequence, SequenceState.WAITING)
        self.queue.add(sequence)
        self.waiting.append(sequence)

    @invariant()
    def everybody_is_there_once(self) -> None:
        assert len(self.queue) == len(self.waiting)
        assert sorted(s.rank for s in self.queue) == sorted(s.rank for s in self.waiting)

    @invariant()
    def the_first_are_known_and_wanted(self) -> None:
        firsts: dict[str | None, Sequence] = {}
        for sequence in sorted(self.waiting, key=lambda s: s.rank, reverse=True):
            firsts[sequence.adapter_digest] = sequence
        for adapter in ADAPTERS:
            digest = adapter.digest if adapter else None
            first = firsts.get(digest)
            assert self.queue.first(digest) is first
            if digest is not None:
                state = self.adapters.get(digest)
                assert state is not None
                assert state.wanted == (first.rank if first else None)
        assert self.queue.first_of_all() is min(self.waiting, key=lambda s: s.rank, default=None)


TestQueueMachine = QueueMachine.TestCase


def test_those_who_have_gone_do_not_pile_up() -> None:
    memory = MemoryManager(32, 4, "base", LeastRecentlyUsed())
    queue = WaitingQueue(memory.adapters)
    for number in range(1000):
        sequence = Sequence(a_request(1), (0.0, number), Namespace("base", None, ""))
        queue.add(sequence)
        if number > 0:
            move(sequence, SequenceState.FINISHED)
            queue.abort(sequence)
    assert len(queue) == 1
    assert len(queue._groups[None].heap) <= MIN_ENTRIES
