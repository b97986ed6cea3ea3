"""State machines are tables: every move in them is made, every other one raises."""

import itertools

import pytest

from motet.errors import InvalidTransition
from motet.memory.residency import RESIDENCY, Residency, StateObject
from motet.memory.transition import HISTORY_LENGTH, move

PAIRS = list(itertools.product(Residency, Residency))


@pytest.mark.parametrize(("start", "to"), PAIRS)
def test_only_moves_of_the_table_are_legal(start: Residency, to: Residency) -> None:
    state = StateObject(state=start)
    if to in RESIDENCY[start]:
        move(state, to, RESIDENCY)
        assert state.state is to
        assert state.history == (start,)
    else:
        with pytest.raises(InvalidTransition, match=f"{start} -> {to} is not a legal move"):
            move(state, to, RESIDENCY)
        assert state.state is start


def test_the_history_is_bounded() -> None:
    state = StateObject(state=Residency.HOST)
    for _ in range(HISTORY_LENGTH):
        for to in (Residency.LOADING, Residency.DUAL, Residency.HOST):
            move(state, to, RESIDENCY)
    assert len(state.history) == HISTORY_LENGTH
