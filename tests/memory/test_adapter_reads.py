"""What a directory has becomes known when it is first wanted: its size, then its content."""

import pytest

from motet.memory.adapter import Adapter, AdapterContent
from motet.memory.adapter_cache import MAX_LOST, MAX_READS, AdapterState, Failure
from motet.memory.copies import PATIENCE_S
from motet.memory.copy import Read, ReadEnded
from motet.memory.manager import NOTHING, Arrival, Changes, MemoryManager
from motet.memory.registry import Generation
from motet.memory.residency import Residency
from tests.engine.factories import a_memory, an_adapter

FIRST, SECOND = (0.0, 1), (0.0, 2)
HEADER = AdapterContent(8, 4, None)
CONTENT = AdapterContent(8, 4, "digest")


def add(memory: MemoryManager, name: str) -> Generation:
    """One that nobody has read."""
    return memory.registry.add(Adapter(name, None, 0, 0, 0, f"/{name}"))


def begun(memory: MemoryManager) -> list[Read]:
    memory.adapters.load_wanted(0)
    memory.check()
    return list(memory.transfers().reads)


def end(memory: MemoryManager, read: Read, content: AdapterContent | None) -> Changes:
    changes = memory.ended(ReadEnded(read.ticket, content, None if content else "no such file"))
    memory.check()
    return changes


def read_whole(memory: MemoryManager, state: AdapterState, content: AdapterContent) -> Changes:
    """It is wanted, and nothing else is."""
    memory.adapters.want(state, FIRST)
    [header] = begun(memory)
    end(memory, header, AdapterContent(content.max_rank, content.num_pages, None))
    [read] = begun(memory)
    return end(memory, read, content)


def test_an_unread_adapter_takes_nothing_until_it_is_wanted() -> None:
    memory = a_memory(20)
    generation = add(memory, "a")
    assert begun(memory) == []
    assert generation.state.state is Residency.DISK and generation.adapter.digest is None


def test_its_header_is_read_first_to_know_how_many_pages_it_takes() -> None:
    memory = a_memory(20)
    generation = add(memory, "a")
    memory.adapters.want(generation.state, FIRST)
    [header] = begun(memory)
    assert (header.path, header.pages, header.digest) == ("/a", (), None)
    assert memory.host.pool.num_free == 256
    assert end(memory, header, HEADER) == Changes(arrival=Arrival(*[generation.state] * 2))
    [read] = begun(memory)
    assert len(read.pages) == 4
    end(memory, read, CONTENT)
    assert generation.state.state is Residency.HOST
    assert (generation.adapter.digest, generation.adapter.num_pages) == ("digest", 4)


def test_one_that_has_been_read_once_is_read_again_only_as_it_was() -> None:
    memory = a_memory(20, num_host_pages=4)
    generation = add(memory, "a")
    read_whole(memory, generation.state, CONTENT)
    memory.adapters.want(generation.state, None)
    memory.host.evict(next(memory.host.idle()))
    memory.adapters.want(generation.state, FIRST)
    [read] = begun(memory)
    assert (len(read.pages), read.digest) == (4, "digest")


def test_a_directory_that_has_what_another_name_has_shares_its_pages() -> None:
    memory = a_memory(20)
    one, twin = add(memory, "a"), add(memory, "b")
    read_whole(memory, one.state, CONTENT)
    read = twin.state
    changes = read_whole(memory, read, CONTENT)
    assert changes.arrival == Arrival(read, one.state)
    assert twin.state is one.state and twin.adapter.digest == "digest"
    assert memory.adapters.states() == [one.state] and one.state.paths == ["/a", "/b"]
    assert memory.host.pool.num_free == 256 - 4


def test_a_failed_read_is_told_with_its_reason_and_tried_again_by_the_next() -> None:
    memory = a_memory(20)
    generation = add(memory, "a")
    memory.adapters.want(generation.state, FIRST)
    [header] = begun(memory)
    failure = Failure(generation.state, "no such file", "AdapterError")
    assert end(memory, header, None) == Changes((failure,))
    assert generation.last_error == "no such file"
    memory.adapters.want(generation.state, None)
    read_whole(memory, generation.state, CONTENT)
    assert generation.last_error is None


@pytest.mark.parametrize(
    ("num_pages", "says"),
    [
        (21, "the adapter takes 21 pages, the pool has 20: start with more --pool-bytes"),
        (11, "the adapter takes 11 pages, the host has 10: start with more --host-bytes"),
    ],
)
def test_one_that_is_too_large_is_refused_with_numbers(num_pages: int, says: str) -> None:
    memory = a_memory(20, num_host_pages=10)
    generation = add(memory, "a")
    memory.adapters.want(generation.state, FIRST)
    [header] = begun(memory)
    failure = Failure(generation.state, says, "AdapterError")
    assert end(memory, header, AdapterContent(8, num_pages, None)) == Changes((failure,))


def test_what_is_put_in_the_place_of_one_that_was_too_large_is_looked_at_anew() -> None:
    memory = a_memory(20, num_host_pages=10)
    generation = add(memory, "a")
    memory.adapters.want(generation.state, FIRST)
    [header] = begun(memory)
    end(memory, header, AdapterContent(8, 11, None))
    memory.adapters.want(generation.state, None)
    read_whole(memory, generation.state, CONTENT)
    assert generation.state.state is Residency.HOST


def test_what_changes_between_header_and_content_is_looked_at_anew() -> None:
    memory = a_memory(20)
    generation = add(memory, "a")
    memory.adapters.want(generation.state, FIRST)
    [header] = begun(memory)
    end(memory, header, HEADER)
    [read] = begun(memory)
    memory.ended(ReadEnded(read.ticket, None, "it has changed", "AdapterChanged"))
    memory.adapters.want(generation.state, None)
    read_whole(memory, generation.state, AdapterContent(8, 6, "digest-6"))
    assert generation.adapter.num_pages == 6


def test_a_read_that_was_broken_off_gives_its_pages_back() -> None:
    memory = a_memory(20)
    generation = add(memory, "a")
    memory.adapters.want(generation.state, FIRST)
    [header] = begun(memory)
    end(memory, header, HEADER)
    [read] = begun(memory)
    assert memory.counts().host_pages_transfer == 4
    memory.ended(ReadEnded(read.ticket, None))
    assert memory.counts().host_pages_free == 256


def test_a_read_that_does_not_end_is_begun_again_and_after_some_those_who_wait_are_told() -> None:
    memory = a_memory(20)
    state = add(memory, "a").state
    memory.adapters.want(state, FIRST)
    for number in range(1, MAX_LOST + 1):
        assert len(begun(memory)) == 1
        changes = memory.tick(number * PATIENCE_S)
    failure = Failure(state, f"{MAX_LOST} reads in a row have not ended", "Unavailable")
    assert changes == Changes((failure,))


def test_only_so_many_are_read_at_once_the_first_that_are_waited_for() -> None:
    memory = a_memory(20)
    states = [add(memory, f"{number}").state for number in range(MAX_READS + 2)]
    for number, state in enumerate(reversed(states)):
        memory.adapters.want(state, (0.0, number))
    reads = begun(memory)
    assert [read.path for read in reads] == [s.paths[0] for s in states[::-1][:MAX_READS]]
    end(memory, reads[0], None)
    memory.adapters.want(states[-1], None)
    assert [read.path for read in begun(memory)] == [states[1].paths[0]]


def test_a_read_for_the_first_takes_the_room_of_one_for_somebody_behind() -> None:
    memory = a_memory(20, num_host_pages=6)
    first, second = (add(memory, name).state for name in ("a", "b"))
    memory.adapters.want(second, SECOND)
    [header] = begun(memory)
    end(memory, header, HEADER)
    [behind] = begun(memory)
    memory.adapters.want(first, FIRST)
    [header] = begun(memory)
    end(memory, header, HEADER)
    assert begun(memory) == [] and memory.counts().host_pages_quarantined == 4
    assert end(memory, behind, CONTENT) == NOTHING
    [read] = begun(memory)
    assert read.path == "/a"


# What the executor is to forget.


def test_what_is_unloaded_is_forgotten_in_both_tiers_at_once() -> None:
    memory = a_memory(20, adapters=[an_adapter("a")])
    memory.registry.retire(memory.registry.current("a"))
    assert memory.transfers().forgotten == ("digest-of-a",)
    assert memory.transfers().forgotten == ()
    assert memory.counts().host_pages_free == 256


def test_what_a_read_brings_that_nobody_waits_for_is_forgotten() -> None:
    memory = a_memory(20)
    generation = add(memory, "a")
    memory.adapters.want(generation.state, FIRST)
    [header] = begun(memory)
    end(memory, header, HEADER)
    [read] = begun(memory)
    memory.registry.retire(generation)
    assert memory.transfers().cancelled == (read.ticket,)
    assert end(memory, read, CONTENT) == NOTHING
    assert memory.transfers().forgotten == ("digest",)


def test_nothing_is_forgotten_that_a_read_under_way_may_just_have_brought() -> None:
    """Else the executor would lose what it is told to compute with next."""
    memory = a_memory(20)
    old, new = add(memory, "a"), add(memory, "b")
    read_whole(memory, old.state, CONTENT)
    memory.adapters.want(old.state, None)
    memory.adapters.want(new.state, FIRST)
    [header] = begun(memory)
    end(memory, header, HEADER)
    [read] = begun(memory)
    memory.registry.retire(old)  # the executor has read the same again, and nobody has heard it
    assert memory.transfers().forgotten == ()
    end(memory, read, CONTENT)
    assert memory.transfers().forgotten == ()
    assert new.adapter.digest == "digest"
