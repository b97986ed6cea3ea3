"""Where movable state is: on the host, on the way, on the device."""

import enum
from dataclasses import dataclass

from motet.memory.page import Lease
from motet.memory.transition import Legal


class Residency(enum.StrEnum):
    ABSENT = "absent"
    HOST = "host"
    """A complete image in host memory, nothing on the device."""
    LOADING = "loading"
    """Device pages are leased and a copy into them is under way."""
    READY = "ready"
    """On the device only; evicting it loses it."""
    DUAL = "dual"
    """On the device and clean on the host; evicting it is metadata only."""


RESIDENCY: Legal[Residency] = {
    Residency.ABSENT: frozenset({Residency.HOST, Residency.READY}),
    Residency.HOST: frozenset({Residency.LOADING}),
    Residency.LOADING: frozenset({Residency.DUAL}),
    Residency.READY: frozenset({Residency.ABSENT}),
    Residency.DUAL: frozenset({Residency.HOST}),
}

ON_DEVICE = frozenset({Residency.READY, Residency.DUAL})


@dataclass(slots=True, eq=False)
class StateObject:
    """Anything that can be moved or evicted as a whole.

    Invariant: `lease` is None exactly while the object has no device pages. Only an object
    without references and in READY or DUAL may be evicted.
    """

    lease: Lease | None = None
    references: int = 0
    state: Residency = Residency.ABSENT
    history: tuple[Residency, ...] = ()

    @property
    def is_idle(self) -> bool:
        """On the device and used by nobody."""
        return self.references == 0 and self.state in ON_DEVICE

    @property
    def num_pages(self) -> int:
        return len(self.lease.pages) if self.lease else 0
