"""State machines are tables: every move in them is made, every other one raises."""

import itertools
from collections.abc import Callable

import pytest

from motet.errors import InvalidTransition
from motet.memory.prefix import Namespace, PrefixNode
from motet.memory.residency import Residency, StateObject
from motet.memory.transition import HISTORY_LENGTH, move
from tests.engine.factories import a_memory, an_adapter


def an_adapter_state() -> StateObject:
    return a_memory(4).registry.add(an_adapter()).state


def a_kv_page() -> StateObject:
    keeper, namespace = a_memory(4).kv, Namespace("base", None, "")
    return PrefixNode(keeper=keeper, namespace=namespace, tokens=(1, 2), parent=None)


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
        assert state.history[-1] is start
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
