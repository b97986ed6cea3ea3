"""A list whose entries may die where they lie."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Entry = TypeVar("Entry")

MIN_ENTRIES = 1024
"""So many are never too many, dead or alive."""


class LazyList(Generic[Entry]):
    """Keeps the order in which things came. Nobody has to say who dies, and what comes again is
    there once: that is looked at when somebody asks, and when the dead might be most of it."""

    __slots__ = ("_enough", "_entries", "_is_live")

    def __init__(self, is_live: Callable[[Entry], bool]) -> None:
        self._is_live = is_live
        self._entries: list[Entry] = []
        self._enough = MIN_ENTRIES
        """Entries among which it is time to look for dead ones."""

    def __len__(self) -> int:
        """Dead ones among them."""
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """The live ones, who came first and died since at their first place."""
        return iter(dict.fromkeys(filter(self._is_live, self._entries)))

    def append(self, entry: Entry) -> None:
        if len(self._entries) >= self._enough:
            self._entries = list(self)
            self._enough = max(MIN_ENTRIES, 2 * len(self._entries))
        self._entries.append(entry)

    def take(self) -> list[Entry]:
        """The live ones; none is left."""
        entries = list(self)
        self._entries.clear()
        return entries
