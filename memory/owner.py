"""Who will want state again, and when."""

import math
import sys
from collections.abc import Iterable
from operator import attrgetter
from typing import Protocol

from motet.memory.clocks import Clock

UNKNOWN_S = 1e9
"""Where owners stand of whom nothing is known: behind all who are due within their horizon."""

BEYOND_S = 1e10
"""Added to the distance of owners beyond it."""


class Due:
    """A moment on a clock, as it was told at another one. Infinite: never; minus infinite: now, for
    as long as it stands. Many owners may share one."""

    __slots__ = ("at", "clock", "ends", "key", "told")

    def __init__(self, clock: Clock, at: float, told: float = 0.0) -> None:
        self.clock = clock
        self.at = at
        self.told = told
        self.ends = at + max(at - told, 2 * clock.resolution)
        """From then on it is worth nothing: the owner is as late again as it was to be away."""
        self.key = _key(clock, at, at - told)
        """The same for all moments that make no difference."""

    @property
    def is_near(self) -> bool:
        """Within the horizon of its clock."""
        return self.at - self.clock.now <= self.clock.horizon


def _key(clock: Clock, at: float, distance: float) -> float:
    """Exact as far as the horizon, then the coarser the farther."""
    if math.isinf(at):
        return at
    grain = clock.resolution
    if distance > clock.horizon:
        grain *= 2.0 ** int(math.log2(min(distance, sys.float_info.max) / clock.horizon))
    return at - at % grain


class Shelf(Protocol):
    """What one owner has idle in one tier."""

    def move(self) -> None:
        """The owner is due at another time."""


class Owner:
    """Who will want its state again. Lives on while anything stands on its shelves."""

    __slots__ = ("due", "shelves")

    def __init__(self) -> None:
        self.due: Due | None = None
        """None: unknown."""
        self.shelves: list[Shelf] = []
        """Where what it owns stands while nobody uses it."""

    def lose(self) -> None:
        """Something that it owns has left the device."""

    def place(self, due: Due | None) -> None:
        """It is expected then: its shelves move."""
        self.due = due
        for shelf in self.shelves:
            shelf.move()

    @property
    def distance_s(self) -> float:
        """Seconds until it is due, on the scale on which owners are ordered."""
        due = self.due
        if due is None:
            return UNKNOWN_S
        if math.isinf(due.at):
            return due.at
        seconds = due.clock.seconds_to(due.at)
        return seconds if due.is_near else BEYOND_S + seconds


distance_of = attrgetter("distance_s")


def nearest(owners: Iterable[Owner]) -> Owner | None:
    """Who is due first."""
    return min(owners, key=distance_of, default=None)
