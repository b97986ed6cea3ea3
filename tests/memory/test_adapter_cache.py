"""Adapters come in the order of who wants them, and nobody before is robbed for somebody behind."""

from motet.memory.adapter_cache import MAX_LOADS, AdapterState, Failure
from motet.memory.copy import Copy, CopyEnded
from motet.memory.lazy_heap import MIN_ENTRIES
from motet.memory.manager import NOTHING, Changes, MemoryManager
from motet.memory.residency import Rank
from tests.engine.factories import a_memory, an_adapter

FIRST, SECOND, THIRD = (0.0, 1), (0.0, 2), (0.0, 3)


def with_adapters(num_pages: int, **sizes: int) -> MemoryManager:
    """Adapters of these sizes, on the host."""
    adapters = [an_adapter(name, size) for name, size in sizes.items()]
    return a_memory(num_pages, adapters=adapters)


def state_of(memory: MemoryManager, name: str) -> AdapterState:
    return memory.registry.current(name).state


def name_of(memory: MemoryManager, state: AdapterState) -> str:
    return memory.registry.of(state)[0].adapter.name


def want(memory: MemoryManager, name: str, rank: Rank | None) -> None:
    memory.adapters.want(state_of(memory, name), rank)


def ready(memory: MemoryManager) -> dict[str, Rank]:
    return {name_of(memory, state): rank for state, rank in memory.adapters.ready.items()}


def begin(memory: MemoryManager, num_reserved: int = 0) -> dict[str, Copy]:
    """The copies that begin, by the names of their adapters."""
    memory.adapters.load_wanted(num_reserved)
    memory.check()
    copies = {copy.ticket: copy for copy in memory.transfers().copies}
    begun: dict[str, Copy] = {}
    for each in memory.copies:
        [state] = each.subjects
        if each.work.ticket in copies:
            assert isinstance(state, AdapterState)
            begun[name_of(memory, state)] = copies[each.work.ticket]
    return begun


def load(memory: MemoryManager, name: str, rank: Rank) -> None:
    """As if it had been wanted, and had come."""
    want(memory, name, rank)
    for copy in begin(memory).values():
        memory.ended(CopyEnded(copy.ticket, len(copy.pages)))
    assert name in ready(memory)


def test_copies_begin_in_the_order_of_who_wants_them() -> None:
    memory = with_adapters(20, a=2, b=2, c=2)
    for name, rank in (("a", THIRD), ("b", FIRST), ("c", SECOND)):
        want(memory, name, rank)
    assert list(begin(memory)) == ["b", "c", "a"]


def test_an_adapter_that_is_wanted_by_another_first_has_the_new_place() -> None:
    memory = with_adapters(20, a=2, b=2)
    want(memory, "a", SECOND)
    want(memory, "b", THIRD)
    want(memory, "a", None)
    want(memory, "b", FIRST)
    assert list(begin(memory)) == ["b"]


def test_a_request_may_want_one_adapter_after_another() -> None:
    """As when the first has turned out to be the second."""
    memory = with_adapters(20, a=2, b=2)
    want(memory, "a", FIRST)
    want(memory, "a", None)
    want(memory, "b", FIRST)
    assert list(begin(memory)) == ["b"]


def test_room_that_those_who_run_will_need_is_left_to_them() -> None:
    memory = with_adapters(10, a=6)
    want(memory, "a", FIRST)
    assert not begin(memory, num_reserved=5)
    assert memory.adapters.load_wanted(5) == FIRST
    assert len(begin(memory, num_reserved=4)) == 1


def test_what_has_come_for_the_first_is_not_evicted_for_those_behind() -> None:
    memory = with_adapters(10, a=6, b=6)
    load(memory, "a", FIRST)
    want(memory, "b", SECOND)
    assert not begin(memory)
    assert memory.adapters.load_wanted(0) == SECOND
    assert not memory.room.make(6, SECOND)
    assert memory.room.make(6, (0.0, 0))
    assert "a" not in ready(memory)


def test_of_what_is_wanted_the_last_goes_first_and_only_when_nothing_else_is_left() -> None:
    memory = with_adapters(10, a=2, b=2, c=2, d=2)
    load(memory, "d", THIRD)
    want(memory, "d", None)
    for name, rank in (("a", FIRST), ("c", THIRD), ("b", SECOND)):
        load(memory, name, rank)
    assert [state_of(memory, name) for name in "dcba"] == list(memory.room.idle())


def test_copies_for_those_behind_are_given_up_for_the_first() -> None:
    memory = with_adapters(10, a=6, b=4, c=4)
    want(memory, "b", SECOND)
    want(memory, "c", THIRD)
    second, third = begin(memory).values()
    want(memory, "a", FIRST)
    assert not begin(memory)
    want(memory, "a", FIRST)
    assert memory.adapters.load_wanted(0) is None  # soon
    assert memory.copies.counters.cancelled == 1
    memory.ended(CopyEnded(second.ticket, 4))
    memory.ended(CopyEnded(third.ticket, 1))
    assert list(begin(memory)) == ["a"]
    assert ready(memory) == {"b": SECOND}


def test_only_as_much_is_given_up_as_the_first_needs() -> None:
    memory = with_adapters(12, a=3, b=4, c=4, d=4)
    for name, rank in (("b", (0.0, 2)), ("c", (0.0, 3)), ("d", (0.0, 4))):
        want(memory, name, rank)
    copies = begin(memory)
    want(memory, "a", FIRST)
    memory.adapters.load_wanted(0)
    assert memory.transfers().cancelled == (copies["d"].ticket,)


def test_a_table_that_cannot_grow_takes_back_what_is_on_its_way() -> None:
    memory = with_adapters(10, a=6)
    table = memory.kv.open(memory.namespace(None, ""), [], FIRST)
    assert memory.kv.grow(table, 16)
    want(memory, "a", SECOND)
    (copy,) = begin(memory).values()
    assert not memory.kv.grow(table, 20)
    memory.hurry(table, 20)
    assert memory.transfers().cancelled == (copy.ticket,)
    memory.ended(CopyEnded(copy.ticket, 0))
    assert memory.kv.grow(table, 20)


def test_an_end_that_comes_again_or_from_nowhere_changes_nothing() -> None:
    memory = with_adapters(10, a=6)
    want(memory, "a", FIRST)
    (copy,) = begin(memory).values()
    end = CopyEnded(copy.ticket, 6)
    memory.ended(end)
    before = memory.counts()
    assert memory.ended(end) == memory.ended(CopyEnded(copy.ticket, 1, "late")) == NOTHING
    assert memory.counts() == before
    assert memory.copies.counters.strays == 2
    memory.check()


def test_a_copy_that_falls_short_is_a_failure_that_says_so() -> None:
    memory = with_adapters(10, a=6)
    want(memory, "a", FIRST)
    (copy,) = begin(memory).values()
    failure = Failure(state_of(memory, "a"), "5 of 6 pages came", "Unavailable")
    assert memory.ended(CopyEnded(copy.ticket, 5)) == Changes((failure,))
    memory.check()
    assert list(begin(memory)) == ["a"]


def test_no_more_is_loaded_than_can_soon_be_used() -> None:
    sizes = {f"a{i}": 1 for i in range(2 * MAX_LOADS)}
    memory = with_adapters(100, **sizes)
    for number, name in enumerate(sizes):
        want(memory, name, (0.0, number))
    first = begin(memory)
    assert list(first) == list(sizes)[:MAX_LOADS]
    for copy in first.values():
        memory.ended(CopyEnded(copy.ticket, 1))
    assert not begin(memory)
    memory.adapters.acquire(state_of(memory, "a0"))  # it runs, and waits for nothing more
    want(memory, "a0", None)
    assert list(begin(memory)) == [f"a{MAX_LOADS}"]


def test_a_copy_that_nobody_wants_makes_place_for_one_that_somebody_wants() -> None:
    sizes = {f"a{i}": 1 for i in range(MAX_LOADS + 1)}
    memory = with_adapters(100, **sizes)
    *first, last = sizes
    for number, name in enumerate(first):
        want(memory, name, (0.0, number))
    copies = begin(memory)
    want(memory, first[3], None)
    want(memory, last, (0.0, 99))
    assert list(begin(memory)) == [last]
    assert len(memory.copies) == len(copies) + 1
    assert memory.copies.counters.cancelled == 1


def test_wants_that_change_do_not_pile_up_while_the_first_cannot_come() -> None:
    memory = with_adapters(10, large=8, small=2)
    want(memory, "large", FIRST)
    assert memory.adapters.load_wanted(5) == FIRST
    for number in range(10 * MIN_ENTRIES):
        want(memory, "small", (1.0, number))
        memory.adapters.load_wanted(5)
    assert len(memory.adapters._to_load) <= MIN_ENTRIES
    memory.check()
