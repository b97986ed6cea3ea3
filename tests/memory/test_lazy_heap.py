"""The least live entry comes first, whatever has died."""

from hypothesis import given
from hypothesis import strategies as st

from motet.memory.lazy_heap import MIN_ENTRIES, LazyHeap


@given(st.lists(st.one_of(st.integers(0, 50), st.sampled_from(["pop", "die"])), max_size=200))
def test_it_is_a_heap_of_what_is_alive(does: list[int | str]) -> None:
    alive: set[tuple[int, int]] = set()
    heap: LazyHeap[tuple[int, int]] = LazyHeap(alive.__contains__)
    for number, what in enumerate(does):
        if isinstance(what, int):
            alive.add((what, number))
            heap.push((what, number))
        elif what == "die" and alive:
            alive.remove(max(alive))
        elif what == "pop" and alive:
            assert heap.pop() == min(alive)
            alive.remove(min(alive))
        assert heap.first() == min(alive, default=None)
        assert sorted(heap) == sorted(alive)


def test_the_dead_do_not_pile_up() -> None:
    heap: LazyHeap[tuple[int]] = LazyHeap(lambda entry: entry[0] % 100 == 0)
    for number in range(100 * MIN_ENTRIES):
        heap.push((number,))
        assert len(heap) <= max(MIN_ENTRIES, 2 * (number // 100 + 1))
