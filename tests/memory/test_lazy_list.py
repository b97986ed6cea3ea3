"""A list that nobody has to leave."""

from hypothesis import given
from hypothesis import strategies as st

from motet.memory.lazy_list import MIN_ENTRIES, LazyList


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
def test_it_is_the_live_ones_each_once(steps: list[tuple[bool, int]]) -> None:
    live: set[int] = set()
    entries: LazyList[int] = LazyList(live.__contains__)
    for is_coming, number in steps:
        if is_coming:
            live.add(number)
            entries.append(number)
        else:
            live.discard(number)
        assert sorted(entries) == sorted(live)
    assert sorted(entries.take()) == sorted(live) and not len(entries)


def test_the_dead_are_never_most_of_a_long_list() -> None:
    live = {0}
    entries: LazyList[int] = LazyList(live.__contains__)
    entries.append(0)
    for number in range(1, 10 * MIN_ENTRIES):
        entries.append(number)
    assert len(entries) <= MIN_ENTRIES and list(entries) == [0]
