"""Where movable state is: on disk, on the host, on the way, on the device."""

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from motet.memory.owner import Owner
from motet.memory.page import Lease, PageOwner
from motet.memory.transition import Legal

Rank = tuple[float, ...]
"""Whose turn it is: the smaller goes first. No two requests have the same."""


class Residency(enum.StrEnum):
    ABSENT = "absent"
    DISK = "disk"
    """An adapter directory, nothing in memory."""
    READING = "reading"
    """It is being read from disk, into host pages if it is known how many it takes."""
    HOST = "host"
    """Complete in host memory, nothing on the device."""
    LOADING = "loading"
    """Device pages are leased and a copy into them is under way."""
    READY = "ready"
    """On the device only."""
    WRITEBACK = "writeback"
    """On the device, and a copy into leased host pages is under way."""
    DUAL = "dual"
    """On the device and on the host; evicting it from either is metadata only."""


ON_DEVICE = frozenset({Residency.READY, Residency.WRITEBACK, Residency.DUAL})
ON_HOST = frozenset({Residency.HOST, Residency.LOADING, Residency.DUAL})


class Worth(enum.Enum):
    """What is to be expected of an object, whoever owns it."""

    LIVE = enum.auto()
    SUPERSEDED = enum.auto()
    """Whoever left it has gone on from elsewhere, or is expected to."""
    DEAD = enum.auto()
    """Of no use as long as what it was computed with is not in memory."""


@dataclass(slots=True, eq=False)
class Resident(ABC):
    """What a room holds: one object's pages in one tier.

    Invariant: `lease` is None exactly while there are none.
    """

    lease: Lease | None = None
    references: int = 0
    wanted: Rank | None = None
    """Of the first request that waits for it. Whoever is behind that one may not evict it."""

    @property
    @abstractmethod
    def is_idle(self) -> bool:
        """Evictable: complete, and used by nobody."""

    @property
    @abstractmethod
    def is_clean(self) -> bool:
        """Evicting it loses nothing that is worth keeping."""

    @abstractmethod
    def leave(self) -> Iterator["Resident"]:
        """Take it, and all that is worth nothing without it, out of what can be used.

        Yields each of them as it goes, itself last. Their pages are the caller's affair.
        """

    @abstractmethod
    def nearest_owner(self) -> Owner | None:
        """Who is due first of all that own it; None: nobody known does."""

    @property
    @abstractmethod
    def worth(self) -> Worth: ...

    @property
    @abstractmethod
    def is_built_on(self) -> bool:
        """Is anything in the same tier that is of no use without it?"""

    @property
    @abstractmethod
    def restore_class(self) -> int:
        """What it would take for each page to have it back: the smaller, the less."""

    @property
    def num_pages(self) -> int:
        return len(self.lease.pages) if self.lease else 0


@dataclass(slots=True, eq=False)
class StateObject(Resident):
    """Anything that can be moved or evicted as a whole. As a resident: its pages on the device.

    Invariant: `host` is None exactly while nothing of it is in host memory or on its way there.
    """

    legal: ClassVar[Legal[Residency]]
    """The moves of its kind."""
    owner: ClassVar[PageOwner]
    """What its pages are used for."""

    state: Residency = Residency.ABSENT
    history: tuple[Residency, ...] = ()
    host: "HostCopy | None" = None

    @property
    @abstractmethod
    def size(self) -> int:
        """Pages it takes."""

    @property
    @abstractmethod
    def is_host_copy_built_on(self) -> bool:
        """As `is_built_on`, of what is on the host."""

    @property
    @abstractmethod
    def host_restore_class(self) -> int:
        """As `restore_class`, of what is on the host."""

    @abstractmethod
    def leave_host(self) -> Iterator["HostCopy"]:
        """As `leave`, of what is on the host."""

    def note(self) -> None:
        """Its residency has changed: for those who keep order of it."""

    @property
    def is_on_device(self) -> bool:
        return self.state in ON_DEVICE

    @property
    def is_idle(self) -> bool:
        return self.references == 0 and self.state in ON_DEVICE


@dataclass(slots=True, eq=False)
class HostCopy(Resident):
    """The pages of an object in host memory. Copies that fill or read them hold references."""

    of: StateObject = field(kw_only=True)

    @property
    def is_idle(self) -> bool:
        return self.references == 0 and self.lease is not None

    @property
    def is_clean(self) -> bool:
        return True

    def leave(self) -> Iterator[Resident]:
        yield from self.of.leave_host()

    def nearest_owner(self) -> Owner | None:
        return self.of.nearest_owner()

    @property
    def worth(self) -> Worth:
        return self.of.worth

    @property
    def is_built_on(self) -> bool:
        return self.of.is_host_copy_built_on

    @property
    def restore_class(self) -> int:
        return self.of.host_restore_class

    def __str__(self) -> str:
        return f"host copy of {self.of}"
