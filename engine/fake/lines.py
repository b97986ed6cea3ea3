"""The lines of a machine: to the device, to the host, and from the disk."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from motet.engine.fake.link import Ended, VirtualLink, Work
from motet.memory.copy import Direction, Read


@dataclass(frozen=True, slots=True)
class Lines:
    """Each moves by itself, beside the others. By default they take no time."""

    to_device: VirtualLink = field(default_factory=VirtualLink)
    to_host: VirtualLink = field(default_factory=VirtualLink)
    from_disk: VirtualLink = field(default_factory=VirtualLink)

    def __iter__(self) -> Iterator[VirtualLink]:
        return iter((self.to_device, self.to_host, self.from_disk))

    def of(self, work: Work) -> VirtualLink:
        if isinstance(work, Read):
            return self.from_disk
        return self.to_device if work.direction is Direction.TO_DEVICE else self.to_host

    def ended(self, now: float) -> Iterator[Ended]:
        """What is over by now."""
        for line in self:
            yield from line.ended(now)

    def next_s(self) -> float | None:
        """When the next piece of work is over."""
        times = [line.next_s() for line in self]
        return min((time for time in times if time is not None), default=None)
