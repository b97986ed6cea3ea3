"""A heap whose entries may die where they lie."""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Any, Generic, TypeVar

Entry = TypeVar("Entry", bound=tuple[Any, ...])

MIN_ENTRIES = 64
"""So many are never too many, dead or alive."""


class LazyHeap(Generic[Entry]):
    """Knows the least of the live entries. Nobody has to say who dies: the dead are left out when
    they come up, and when they might be most of the heap."""

    def __init__(self, is_live: Callable[[Entry], bool]) -> None:
        self._is_live = is_live
        self._entries: list[Entry] = []
        self._enough = MIN_ENTRIES
        """Entries among which it is time to look for dead ones."""

    def __len__(self) -> int:
        """Dead ones among them."""
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """The live ones, in no particular order."""
        return filter(self._is_live, self._entries)

    def push(self, entry: Entry) -> None:
        if len(self._entries) >= self._enough:
            self._entries = list(self)
            heapify(self._entries)
            self._enough = max(MIN_ENTRIES, 2 * len(self._entries))
        heappush(self._entries, entry)

    def first(self) -> Entry | None:
        """The least one; None when none is left."""
        while self._entries and not self._is_live(self._entries[0]):
            heappop(self._entries)
        return self._entries[0] if self._entries else None

    def pop(self) -> Entry:
        """Take the least one out; there must be one."""
        first = self.first()
        assert first is not None
        return heappop(self._entries)
