"""Who owns which page: the one place where pages are handed out and taken back."""

import enum
from collections import deque
from dataclasses import dataclass
from typing import NewType

from motet.errors import PageError

PageId = NewType("PageId", int)


class PageOwner(enum.StrEnum):
    """What a page that is not free is used for."""

    KV = "kv"
    ADAPTER = "adapter"
    TRANSFER = "transfer"
    """A load into the page is under way."""
    QUARANTINED = "quarantined"
    """Given up by its owner while a step or a copy may still write to it."""


@dataclass(slots=True, eq=False)
class Lease:
    """The right to use some pages, held by one object until it is released.

    Created and changed by `PagePool` alone.
    """

    pages: tuple[PageId, ...]
    owner: PageOwner
    is_released: bool = False


class PagePool:
    """`num_pages` equal pages; every one is free or in exactly one lease.

    Invariant: free + kv + adapter + transfer + quarantined = num_pages, counted in two ways.
    """

    def __init__(self, num_pages: int, first: int = 0) -> None:
        """Numbered from `first` on."""
        self.num_pages = num_pages
        self._free = deque(PageId(page) for page in range(first, first + num_pages))
        self._leases: dict[Lease, None] = {}  # ordered, so that runs repeat exactly
        self._count = dict.fromkeys(PageOwner, 0)
        self._released: list[PageId] = []

    @property
    def num_free(self) -> int:
        return len(self._free)

    def count(self, owner: PageOwner) -> int:
        return self._count[owner]

    def reserve(self, num_pages: int, owner: PageOwner) -> Lease | None:
        """Lease free pages, or None when there are too few."""
        if num_pages > len(self._free):
            return None
        pages = tuple(self._free.popleft() for _ in range(num_pages))
        lease = Lease(pages, owner)
        self._leases[lease] = None
        self._count[owner] += num_pages
        return lease

    def relabel(self, lease: Lease, owner: PageOwner) -> None:
        """The same pages are used for something else from now on."""
        self._must_be_live(lease)
        self._count[lease.owner] -= len(lease.pages)
        self._count[owner] += len(lease.pages)
        lease.owner = owner

    def release(self, lease: Lease) -> None:
        """Give the pages back. Raises PageError on a second release."""
        self._must_be_live(lease)
        lease.is_released = True
        del self._leases[lease]
        self._count[lease.owner] -= len(lease.pages)
        self._free.extend(lease.pages)
        self._released.extend(lease.pages)

    def take_released(self) -> tuple[PageId, ...]:
        """Pages released since the last call: their content is dead."""
        released = tuple(self._released)
        self._released.clear()
        return released

    def check(self) -> None:
        """Count every page in a second way; raise PageError where the two disagree."""
        walked = dict.fromkeys(PageOwner, 0)
        seen = set(self._free)
        num_seen = len(self._free)
        for lease in self._leases:
            walked[lease.owner] += len(lease.pages)
            seen.update(lease.pages)
            num_seen += len(lease.pages)
        if walked != self._count:
            raise PageError(f"page counters {self._count} disagree with leases {walked}")
        if num_seen != self.num_pages or len(seen) != self.num_pages:
            raise PageError(
                f"{num_seen} pages ({len(seen)} distinct) are free or leased of {self.num_pages}"
            )

    def _must_be_live(self, lease: Lease) -> None:
        if lease.is_released:
            raise PageError(f"pages {lease.pages} are released already")
        if lease not in self._leases:
            raise PageError(f"pages {lease.pages} were not leased from this pool")
