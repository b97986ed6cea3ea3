"""KV is written back before its pages are needed, the eldest first, if that is worth anything."""

from motet.memory.block_table import BlockTable
from motet.memory.copies import PATIENCE_S
from motet.memory.copy import Copy, CopyEnded, Direction
from motet.memory.costs import Costs
from motet.memory.manager import MemoryManager
from motet.memory.residency import Residency
from motet.memory.write_back import COPY_PAGES, IDLE_S
from tests.engine.factories import PAGE_TOKENS, a_memory, an_adapter

FIRST, SECOND = (0.0, 1), (0.0, 2)


def compute(memory: MemoryManager, start: int, num_pages: int) -> None:
    """A sequence that leaves so many full pages."""
    kv = memory.kv
    tokens = range(start, start + num_pages * PAGE_TOKENS)
    table = kv.open(memory.namespace(None, ""), [], FIRST)
    assert kv.grow(table, len(tokens))
    kv.seal(table, tokens, len(tokens))
    kv.close(table)


def begun(memory: MemoryManager) -> list[Copy]:
    memory.check()
    return list(memory.transfers().copies)


def end(memory: MemoryManager, copy: Copy, num_pages: int | None = None) -> None:
    memory.ended(CopyEnded(copy.ticket, len(copy.pages) if num_pages is None else num_pages))
    memory.check()


def states(memory: MemoryManager) -> list[Residency]:
    return [node.state for node in memory.kv.states()]


def a_table(memory: MemoryManager) -> BlockTable:
    return memory.kv.open(memory.namespace(None, "other"), [], SECOND)


def test_nothing_is_written_back_while_most_of_the_device_can_be_had() -> None:
    memory = a_memory(12, costs=Costs())
    compute(memory, 0, 6)
    memory.use_links(0)
    assert begun(memory) == []
    compute(memory, 100, 1)
    memory.use_links(0)
    [copy] = begun(memory)
    assert copy.direction is Direction.TO_HOST


def test_the_eldest_go_first_and_one_copy_after_the_other() -> None:
    memory = a_memory(12, costs=Costs())
    compute(memory, 0, 12)
    memory.use_links(0)
    memory.use_links(0)
    [copy] = begun(memory)
    assert len(copy.pages) == COPY_PAGES
    # A sequence gives up its last page first: its beginning is more likely to be of use.
    assert [pair.device for pair in copy.pages] == list(range(11, 3, -1))
    assert states(memory).count(Residency.WRITEBACK) == COPY_PAGES
    end(memory, copy)
    assert states(memory).count(Residency.DUAL) == COPY_PAGES


def test_what_is_dirty_is_not_evicted_before_it_is_written_back() -> None:
    memory = a_memory(8, costs=Costs())
    compute(memory, 0, 8)
    table = a_table(memory)
    assert not memory.kv.grow(table, 2 * PAGE_TOKENS)
    assert memory.write_back_for(table, 2 * PAGE_TOKENS)
    [copy] = begun(memory)
    assert len(copy.pages) == 2 and not memory.kv.grow(table, 2 * PAGE_TOKENS)
    end(memory, copy)
    assert memory.kv.grow(table, 2 * PAGE_TOKENS)
    assert states(memory).count(Residency.HOST) == 2
    assert memory.counts().kv_page_evictions == 2


def test_a_page_that_others_build_on_goes_after_them() -> None:
    memory = a_memory(4, costs=Costs())
    compute(memory, 0, 4)
    table = a_table(memory)
    assert memory.write_back_for(table, 3 * PAGE_TOKENS)
    [copy] = begun(memory)
    end(memory, copy)
    assert memory.kv.grow(table, 3 * PAGE_TOKENS)
    assert states(memory) == [Residency.READY, *[Residency.HOST] * 3]


def test_evicting_what_has_a_clean_copy_is_metadata_only() -> None:
    memory = a_memory(8, costs=Costs())
    compute(memory, 0, 8)
    memory.use_links(0)
    [copy] = begun(memory)
    end(memory, copy)
    assert memory.room.make(8, SECOND)
    assert begun(memory) == [] and states(memory) == [Residency.HOST] * 8


def test_what_the_host_has_no_room_for_is_dropped() -> None:
    adapter = an_adapter(num_pages=2)
    memory = a_memory(8, num_host_pages=2, adapters=[adapter], costs=Costs())
    state = memory.registry.current("a").state
    memory.adapters.want(state, FIRST)
    memory.adapters.load_wanted(0)
    [load] = begun(memory)
    end(memory, load)
    memory.adapters.acquire(state)
    compute(memory, 0, 6)
    table = a_table(memory)
    assert memory.write_back_for(table, 2 * PAGE_TOKENS)
    assert begun(memory) == [] and memory.kv.grow(table, 2 * PAGE_TOKENS)
    assert states(memory) == [Residency.READY] * 4


def test_the_host_gives_up_what_only_it_has_for_what_is_used_more_recently() -> None:
    memory = a_memory(4, num_host_pages=4, costs=Costs())
    compute(memory, 0, 4)
    memory.use_links(0)
    [copy] = begun(memory)
    end(memory, copy)
    assert memory.room.make(4, SECOND)
    compute(memory, 100, 4)
    memory.use_links(0)
    [copy] = begun(memory)
    assert len(copy.pages) == 4 and memory.counts().host_kv_page_evictions == 4
    assert states(memory) == [Residency.WRITEBACK] * 4


def test_a_write_back_that_falls_short_or_is_lost_leaves_what_may_be_dropped() -> None:
    for is_lost in (False, True):
        memory = a_memory(4, costs=Costs())
        compute(memory, 0, 4)
        memory.use_links(0)
        [copy] = begun(memory)
        if is_lost:
            memory.tick(PATIENCE_S)
        else:
            end(memory, copy, num_pages=1)
        assert states(memory).count(Residency.DUAL) == (not is_lost)
        assert memory.room.make(4, SECOND)
        memory.check()


def test_a_page_in_use_is_written_back_only_when_it_is_idle() -> None:
    memory = a_memory(4, costs=Costs())
    tokens = range(4 * PAGE_TOKENS)
    table = memory.kv.open(memory.namespace(None, ""), [], FIRST)
    memory.kv.grow(table, len(tokens))
    memory.kv.seal(table, tokens, len(tokens))
    memory.use_links(0)
    assert begun(memory) == []
    memory.kv.close(table)
    memory.use_links(0)
    assert len(begun(memory)) == 1


def test_a_page_that_is_used_again_while_it_is_written_back_has_its_copy_in_the_end() -> None:
    memory = a_memory(4, costs=Costs())
    compute(memory, 0, 4)
    memory.use_links(0)
    [copy] = begun(memory)
    chain = memory.kv.states()
    table = memory.kv.open(memory.namespace(None, ""), chain, SECOND)
    end(memory, copy)
    assert states(memory) == [Residency.DUAL] * 4
    assert not memory.room.make(1, FIRST)
    memory.kv.close(table)


# Costs.


def test_restoring_is_worth_it_where_it_is_sooner_than_computing() -> None:
    costs = Costs(page_copy_s=2.0, copy_latency_s=5.0, token_s=1.0)
    assert costs.restores(num_pages=10, num_tokens=26)
    assert not costs.restores(num_pages=10, num_tokens=25)
    assert not costs.restores(num_pages=0, num_tokens=5)


def test_kv_that_is_never_restored_is_clean_from_the_start() -> None:
    memory = a_memory(4, costs=Costs(page_copy_s=PAGE_TOKENS))
    compute(memory, 0, 4)
    memory.use_links(0)
    assert begun(memory) == [] and memory.room.num_clean_pages == 4


# In line.


def test_patience_begins_when_it_is_the_turn_of_a_copy() -> None:
    """A full queue of copies is no sign that one of them is lost."""
    memory = a_memory(20, adapters=[an_adapter(name) for name in "ab"])
    for name, rank in (("a", FIRST), ("b", SECOND)):
        memory.adapters.want(memory.registry.current(name).state, rank)
    memory.adapters.load_wanted(0)
    first, second = begun(memory)
    memory.tick(PATIENCE_S - 1)
    end(memory, first)
    memory.tick(2 * PATIENCE_S - 2)
    assert memory.copies.counters.lost == 0
    assert memory.next_due_s == 2 * PATIENCE_S - 1
    memory.tick(2 * PATIENCE_S - 1)
    assert memory.copies.counters.lost == 1
    end(memory, second)


def test_a_copy_does_not_wait_for_its_turn_behind_one_of_another_line() -> None:
    memory = a_memory(20, adapters=[an_adapter("a")], costs=Costs())
    compute(memory, 0, 14)
    memory.use_links(0)
    memory.adapters.want(memory.registry.current("a").state, FIRST)
    memory.adapters.load_wanted(0)
    to_host, to_device = begun(memory)
    memory.tick(PATIENCE_S - 1)
    end(memory, to_host)
    memory.tick(PATIENCE_S)
    assert memory.copies.counters.lost == 1
    assert memory.transfers().cancelled == (to_device.ticket,)


def test_each_who_is_short_of_pages_gets_its_own() -> None:
    memory = a_memory(32, costs=Costs())
    compute(memory, 0, 32)
    tables = [memory.kv.open(memory.namespace(None, "other"), [], (0.0, n)) for n in range(2, 14)]
    assert all(memory.write_back_for(table, PAGE_TOKENS) for table in tables)
    for copy in begun(memory):
        end(memory, copy)
    assert all(memory.kv.grow(table, PAGE_TOKENS) for table in tables)


def test_who_is_short_is_not_so_for_ever_because_another_takes_pages_meanwhile() -> None:
    memory = a_memory(256, costs=Costs())
    compute(memory, 0, 256)
    row = memory.kv.open(memory.namespace(None, "other"), [], FIRST)
    for step in range(1, 12):
        if not memory.kv.grow(row, step * PAGE_TOKENS):  # takes what has come for the other
            memory.write_back_for(row, step * PAGE_TOKENS)
        if memory.room.num_missing(6, SECOND) <= 0:
            break
        memory.adapters.hurry(6, SECOND)
        memory.use_links(None)
        for copy in begun(memory):
            end(memory, copy)
    assert memory.room.num_missing(6, SECOND) <= 0


def test_a_fast_link_writes_back_as_much_as_it_can_in_a_step() -> None:
    memory = a_memory(64, costs=Costs(page_copy_s=IDLE_S / 20))
    compute(memory, 0, 64)
    memory.use_links(0)
    assert [len(copy.pages) for copy in begun(memory)] == [8, 8, 4]
