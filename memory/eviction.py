"""Who goes first when pages are needed: one order across KV and adapters."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Protocol

from motet.memory.residency import StateObject


class EvictionPolicy(Protocol):
    """Orders the idle objects. Frees nothing itself."""

    def add(self, state: StateObject) -> None:
        """The object has become idle: this is its last use."""

    def discard(self, state: StateObject) -> None:
        """The object is in use again, or gone."""

    def victim(self) -> StateObject | None:
        """The object to evict next; None when nothing is idle."""

    def __iter__(self) -> Iterator[StateObject]:
        """Every idle object, first victim first."""


class LeastRecentlyUsed:
    """Whoever has been idle longest goes first.

    Pages of a sequence become idle from its last to its first, so a chain of KV pages is evicted
    from its end, which leaves the shared beginning for others.
    """

    def __init__(self) -> None:
        # A plain dict keeps the order too, but looks for its first entry past all that were taken.
        self._idle: OrderedDict[StateObject, None] = OrderedDict()

    def add(self, state: StateObject) -> None:
        self._idle[state] = None

    def discard(self, state: StateObject) -> None:
        self._idle.pop(state, None)

    def victim(self) -> StateObject | None:
        return next(iter(self._idle), None)

    def __iter__(self) -> Iterator[StateObject]:
        return iter(self._idle)


EVICTION: dict[str, Callable[[], EvictionPolicy]] = {"lru": LeastRecentlyUsed}
