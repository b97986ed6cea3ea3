"""The queue gives those who wait in order, whoever comes and goes."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from motet.engine.queue import WaitingQueue
from motet.engine.sequence import Sequence, SequenceState
from motet.memory.adapter_cache import AdapterState
from motet.memory.lazy_heap import MIN_ENTRIES
from motet.memory.transition import move
from tests.engine.factories import a_memory, a_request, an_adapter

NUM_ADAPTERS = 4


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        memory = a_memory(32, adapters=[an_adapter(f"a{i}") for i in range(NUM_ADAPTERS)])
        self.cache = memory.adapters
        self.adapters: list[AdapterState | None] = [None, *self.cache.states()]
        self.queue = WaitingQueue(self.cache)
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.num_arrived = 0

    @rule(choice=st.integers(0, 99), order=st.integers(0, 3))
    def arrive(self, choice: int, order: int) -> None:
        self.num_arrived += 1
        rank = (float(order), self.num_arrived)
        adapter = self.adapters[choice % len(self.adapters)]
        sequence = Sequence(a_request(1), rank, adapter=adapter)
        self.queue.add(sequence)
        self.waiting.append(sequence)

    @precondition(lambda self: self.waiting)
    @rule(choice=st.integers(0, 99))
    def abort(self, choice: int) -> None:
        sequence = self.waiting.pop(choice % len(self.waiting))
        move(sequence, SequenceState.FINISHED)
        self.queue.abort(sequence)

    @rule(data=st.data())
    def recognise(self, data: st.DataObject) -> None:
        """An adapter that nobody knew turns out to be another one."""
        adapters = [adapter for adapter in self.adapters if adapter]
        used = {sequence.adapter for sequence in self.running}
        unknown = [adapter for adapter in adapters if adapter not in used]
        if not unknown or len(adapters) == 1:
            return
        gone = data.draw(st.sampled_from(unknown))
        self.adapters.remove(gone)
        adapters.remove(gone)
        self.cache.want(gone, None)
        self.queue.move(gone, data.draw(st.sampled_from(adapters)))

    @rule(
        groups=st.sets(st.integers(0, NUM_ADAPTERS)), does=st.lists(st.integers(0, 3), max_size=9)
    )
    def admit(self, groups: set[int], does: list[int]) -> None:
        """0 passes over, 1 passes over the group, 2 the adapters, 3 takes."""
        adapters = [self.adapters[group] for group in groups if group < len(self.adapters)]
        candidates = self.queue.candidates(adapters)
        expected = sorted((s for s in self.waiting if s.adapter in adapters), key=lambda s: s.rank)
        for what in does:
            first = candidates.first()
            assert first is (expected[0] if expected else None)
            if first is None:
                break
            adapter = first.adapter
            if what == 0:
                candidates.pass_over()
                del expected[0]
            elif what == 1:
                candidates.pass_over_group()
                expected = [s for s in expected if s.adapter is not adapter]
            elif what == 2:
                candidates.pass_over_adapters()
                expected = [s for s in expected if s.adapter is None]
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
        firsts: dict[AdapterState | None, Sequence] = {}
        for sequence in sorted(self.waiting, key=lambda s: s.rank, reverse=True):
            firsts[sequence.adapter] = sequence
        for adapter in self.adapters:
            first = firsts.get(adapter)
            assert self.queue.first(adapter) is first
            if adapter is not None:
                assert adapter.waited == (first.rank if first else None)
        assert self.queue.first_of_all() is min(self.waiting, key=lambda s: s.rank, default=None)


TestQueueMachine = QueueMachine.TestCase


def test_those_who_have_gone_do_not_pile_up() -> None:
    queue = WaitingQueue(a_memory(32).adapters)
    for number in range(1000):
        sequence = Sequence(a_request(1), (0.0, number))
        queue.add(sequence)
        if number > 0:
            move(sequence, SequenceState.FINISHED)
            queue.abort(sequence)
    assert len(queue) == 1
    assert len(queue._groups[None].heap) <= MIN_ENTRIES
