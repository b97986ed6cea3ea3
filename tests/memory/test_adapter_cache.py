"""Adapters come in the order of who wants them, and nobody before is robbed for somebody behind."""

from motet.memory.adapter import Adapter
from motet.memory.adapter_cache import MAX_LOADS
from motet.memory.copy import Copy, CopyEnded
from motet.memory.eviction import LeastRecentlyUsed
from motet.memory.lazy_heap import MIN_ENTRIES
from motet.memory.manager import MemoryManager
from motet.memory.residency import Rank

FIRST, SECOND, THIRD = (0.0, 1), (0.0, 2), (0.0, 3)


def a_memory(num_pages: int, **sizes: int) -> MemoryManager:
    """With adapters of these sizes, each with its name as digest."""
    memory = MemoryManager(num_pages, 4, "base", LeastRecentlyUsed())
    for name, size in sizes.items():
        memory.adapters.register(Adapter(name, name, 1, 8, size))
    return memory


def begin(memory: MemoryManager, num_reserved: int = 0) -> tuple[Copy, ...]:
    memory.adapters.load_wanted(num_reserved)
    memory.check()
    return memory.transfers().copies


def load(memory: MemoryManager, digest: str, rank: Rank) -> None:
    """As if it had been wanted, and had come."""
    memory.adapters.want(digest, rank)
    for copy in begin(memory):
        memory.ended(CopyEnded(copy.ticket, len(copy.pages)))
    assert digest in memory.adapters.ready


def test_copies_begin_in_the_order_of_who_wants_them() -> None:
    memory = a_memory(20, a=2, b=2, c=2)
    for digest, rank in (("a", THIRD), ("b", FIRST), ("c", SECOND)):
        memory.adapters.want(digest, rank)
    assert [copy.digest for copy in begin(memory)] == ["b", "c", "a"]


def test_an_adapter_that_is_wanted_by_another_first_has_the_new_place() -> None:
    memory = a_memory(20, a=2, b=2)
    memory.adapters.want("a", SECOND)
    memory.adapters.want("b", THIRD)
    memory.adapters.want("a", None)
    memory.adapters.want("b", FIRST)
    assert [copy.digest for copy in begin(memory)] == ["b"]


def test_room_that_those_who_run_will_need_is_left_to_them() -> None:
    memory = a_memory(10, a=6)
    memory.adapters.want("a", FIRST)
    assert begin(memory, num_reserved=5) == ()
    assert memory.adapters.load_wanted(5) == FIRST
    assert len(begin(memory, num_reserved=4)) == 1


def test_what_has_come_for_the_first_is_not_evicted_for_those_behind() -> None:
    memory = a_memory(10, a=6, b=6)
    load(memory, "a", FIRST)
    memory.adapters.want("b", SECOND)
    assert begin(memory) == ()
    assert memory.adapters.load_wanted(0) == SECOND
    assert not memory.room.make(6, SECOND)
    assert memory.room.make(6, (0.0, 0))
    assert "a" not in memory.adapters.ready


def test_of_what_is_wanted_the_last_goes_first_and_only_when_nothing_else_is_left() -> None:
    memory = a_memory(10, a=2, b=2, c=2, d=2)
    load(memory, "d", THIRD)
    memory.adapters.want("d", None)
    for digest, rank in (("a", FIRST), ("c", THIRD), ("b", SECOND)):
        load(memory, digest, rank)
    assert [str(state) for state in memory.room.idle()] == [f"adapter {d}" for d in "dcba"]


def test_copies_for_those_behind_are_given_up_for_the_first() -> None:
    memory = a_memory(10, a=6, b=4, c=4)
    memory.adapters.want("b", SECOND)
    memory.adapters.want("c", THIRD)
    second, third = begin(memory)
    memory.adapters.want("a", FIRST)
    assert begin(memory) == ()
    memory.adapters.want("a", FIRST)
    assert memory.adapters.load_wanted(0) is None  # soon
    assert memory.copies.counters.cancelled == 1
    memory.ended(CopyEnded(second.ticket, 4))
    memory.ended(CopyEnded(third.ticket, 1))
    assert [copy.digest for copy in begin(memory)] == ["a"]
    assert memory.adapters.ready == {"b": SECOND}


def test_only_as_much_is_given_up_as_the_first_needs() -> None:
    memory = a_memory(12, a=3, b=4, c=4, d=4)
    for digest, rank in (("b", (0.0, 2)), ("c", (0.0, 3)), ("d", (0.0, 4))):
        memory.adapters.want(digest, rank)
    copies = begin(memory)
    memory.adapters.want("a", FIRST)
    memory.adapters.load_wanted(0)
    assert memory.transfers().cancelled == (copies[-1].ticket,)


def test_a_table_that_cannot_grow_takes_back_what_is_on_its_way() -> None:
    memory = a_memory(10, a=6)
    table = memory.kv.open(memory.namespace(None, ""), [], FIRST)
    assert memory.kv.grow(table, 16)
    memory.adapters.want("a", SECOND)
    (copy,) = begin(memory)
    assert not memory.kv.grow(table, 20)
    memory.hurry(table, 20)
    assert memory.transfers().cancelled == (copy.ticket,)
    memory.ended(CopyEnded(copy.ticket, 0))
    assert memory.kv.grow(table, 20)


def test_an_end_that_comes_again_or_from_nowhere_changes_nothing() -> None:
    memory = a_memory(10, a=6)
    memory.adapters.want("a", FIRST)
    (copy,) = begin(memory)
    end = CopyEnded(copy.ticket, 6)
    memory.ended(end)
    before = memory.counts()
    assert memory.ended(end) == {} and memory.ended(CopyEnded(copy.ticket, 1, "late")) == {}
    assert memory.counts() == before
    assert memory.copies.counters.strays == 2
    memory.check()


def test_a_copy_that_falls_short_is_a_failure_that_says_so() -> None:
    memory = a_memory(10, a=6)
    memory.adapters.want("a", FIRST)
    (copy,) = begin(memory)
    assert memory.ended(CopyEnded(copy.ticket, 5)) == {"a": "5 of 6 pages came"}
    memory.check()
    assert [copy.digest for copy in begin(memory)] == ["a"]


def test_no_more_is_loaded_than_can_soon_be_used() -> None:
    sizes = {f"a{i}": 1 for i in range(2 * MAX_LOADS)}
    memory = a_memory(100, **sizes)
    for number, digest in enumerate(sizes):
        memory.adapters.want(digest, (0.0, number))
    first = begin(memory)
    assert [copy.digest for copy in first] == list(sizes)[:MAX_LOADS]
    for copy in first:
        memory.ended(CopyEnded(copy.ticket, 1))
    assert begin(memory) == ()
    memory.adapters.acquire("a0")  # it runs, and waits for nothing more
    memory.adapters.want("a0", None)
    assert [copy.digest for copy in begin(memory)] == [f"a{MAX_LOADS}"]


def test_a_copy_that_nobody_wants_makes_place_for_one_that_somebody_wants() -> None:
    sizes = {f"a{i}": 1 for i in range(MAX_LOADS + 1)}
    memory = a_memory(100, **sizes)
    *first, last = sizes
    for number, digest in enumerate(first):
        memory.adapters.want(digest, (0.0, number))
    copies = begin(memory)
    memory.adapters.want(first[3], None)
    memory.adapters.want(last, (0.0, 99))
    assert [copy.digest for copy in begin(memory)] == [last]
    assert len(memory.copies) == len(copies) + 1
    assert memory.copies.counters.cancelled == 1


def test_wants_that_change_do_not_pile_up_while_the_first_cannot_come() -> None:
    memory = a_memory(10, large=8, small=2)
    memory.adapters.want("large", FIRST)
    assert memory.adapters.load_wanted(5) == FIRST
    for number in range(10 * MIN_ENTRIES):
        memory.adapters.want("small", (1.0, number))
        memory.adapters.load_wanted(5)
    assert len(memory.adapters._to_load) <= MIN_ENTRIES
    memory.check()
