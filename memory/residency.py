"""Where movable state is: on the host, on the way, on the device."""

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from motet.memory.page import Lease
from motet.memory.transition import Legal

Rank = tuple[float, int]
"""Whose turn it is: the smaller goes first. No two requests have the same."""


class Residency(enum.StrEnum):
    ABSENT = "absent"
    DISK = "disk"
    """An adapter directory, nothing in memory."""
    READING = "reading"
    """Host pages are leased and being filled from the disk."""
    HOST = "host"
    """A complete image in host memory, nothing on the device."""
    LOADING = "loading"
    """Device pages are leased and a copy into them is under way."""
    READY = "ready"
    """On the device only."""
    WRITEBACK = "writeback"
    """On the device, and a copy to the host is under way."""
    DUAL = "dual"
    """On the device and clean on the host; evicting it is metadata only."""


ON_DEVICE = frozenset({Residency.READY, Residency.DUAL})


@dataclass(slots=True, eq=False)
class StateObject(ABC):
    """Anything that can be moved or evicted as a whole.

    Invariant: `lease` is None exactly while the object has no device pages. Only an object
    without references and in READY or DUAL may be evicted.
    """

    legal: ClassVar[Legal[Residency]]
    """The moves of its kind."""

    lease: Lease | None = None
    references: int = 0
    wanted: Rank | None = None
    """Of the first request that waits for it. Whoever is behind that one may not evict it."""
    state: Residency = Residency.ABSENT
    history: tuple[Residency, ...] = ()

    @abstractmethod
    def leave_device(self) -> Iterator["StateObject"]:
        """Take the object, and all that is worth nothing without it, out of what can be used.

        Yields each of them as it goes, the object itself last. Their pages are the caller's affair.
        """

    @property
    def is_on_device(self) -> bool:
        return self.state in ON_DEVICE

    @property
    def is_idle(self) -> bool:
        """Evictable: on the device and used by nobody."""
        return self.references == 0 and self.state in ON_DEVICE

    @property
    def num_pages(self) -> int:
        return len(self.lease.pages) if self.lease else 0
