"""State machines as data: a table of legal moves beside the states, and one way to make a move."""

from collections.abc import Mapping
from typing import Protocol, TypeVar

from motet.errors import InvalidTransition

State = TypeVar("State")
Legal = Mapping[State, frozenset[State]]

HISTORY_LENGTH = 8


class Stateful(Protocol[State]):
    state: State
    history: tuple[State, ...]
    """The last few states before this one, oldest first."""

    @property
    def legal(self) -> Legal[State]:
        """The moves of its class."""


def move(subject: Stateful[State], to: State) -> None:
    """Change `subject.state`. Raises InvalidTransition, with the story, if its table forbids it."""
    if to not in subject.legal.get(subject.state, ()):
        story = " -> ".join(str(state) for state in (*subject.history, subject.state))
        raise InvalidTransition(f"{subject}: {story} -> {to} is not a legal move")
    subject.history = (*subject.history, subject.state)[-HISTORY_LENGTH:]
    subject.state = to
