"""State machines are tables: every move in them is made, every other one raises."""

import itertools
from collections.abc import Callable

import pytest

from motet.errors import InvalidTransition
from motet.memory.adapter_cache import AdapterCache, AdapterState
from motet.memory.copies import Copies
from motet.memory.eviction import LeastRecentlyUsed
from motet.memory.prefix import Namespace, PrefixIndex, PrefixNode
from motet.memory.residency import Residency, StateObject
from motet.memory.room import Room
from motet.memory.transition import HISTORY_LENGTH, move


def an_adapter_state() -> StateObject:
    cache = AdapterCache(Room(4, LeastRecentlyUsed()), Copies())
    return AdapterState(cache=cache, digest="digest", size=2)


def a_kv_page() -> StateObject:
    index, namespace = PrefixIndex(page_tokens=2), Namespace("base", None, "")
    return PrefixNode(index=index, namespace=namespace, tokens=(1, 2), parent=None)


KINDS = (an_adapter_state, a_kv_page)
CASES = list(itertools.product(KINDS, Residency, Residency))


@pytest.mark.parametrize(("make", "start", "to"), CASES)
def test_only_moves_of_its_table_are_legal(
    make: Callable[[], StateObject], start: Residency, to: Residency
) -> None:
    state = make()
    state.state = start
    if to in state.legal.get(start, ()):
        move(state, to)
        assert state.state is to
        assert state.history == (start,)
    else:
        with pytest.raises(InvalidTransition, match=f"{start} -> {to} is not a legal move"):
            move(state, to)
        assert state.state is start


def test_the_history_is_bounded() -> None:
    state = an_adapter_state()
    state.state = Residency.HOST
    for _ in range(HISTORY_LENGTH):
        for to in (Residency.LOADING, Residency.DUAL, Residency.HOST):
            move(state, to)
    assert len(state.history) == HISTORY_LENGTH
