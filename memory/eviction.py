"""Who goes first when pages are needed: one order across KV and adapters."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Protocol

from motet.memory.agreement import must_agree
from motet.memory.owners import OwnerOrder
from motet.memory.residency import HostCopy, Resident


class EvictionPolicy(Protocol):
    """Orders the idle objects of one tier. Frees nothing itself."""

    knows_owners: bool
    """Does it matter who owns them, and what those are expected to do?"""

    def add(self, resident: Resident) -> None:
        """It has become idle: this is its last use."""

    def discard(self, resident: Resident) -> None:
        """It is in use again, or gone."""

    def victim(self) -> Resident | None:
        """What to evict next; None when nothing is idle."""

    def __iter__(self) -> Iterator[Resident]:
        """Everything that is idle, first victim first."""

    def check(self) -> None:
        """Raise BrokenInvariant where two views of where something stands disagree."""


class LeastRecentlyUsed:
    """Whoever has been idle longest goes first.

    Pages of a sequence become idle from its last to its first, so a chain of KV pages is evicted
    from its end, which leaves the shared beginning for others.
    """

    knows_owners = False

    def __init__(self) -> None:
        # A plain dict keeps the order too, but looks for its first entry past all that were taken.
        self._idle: OrderedDict[Resident, None] = OrderedDict()

    def add(self, resident: Resident) -> None:
        self._idle[resident] = None

    def discard(self, resident: Resident) -> None:
        self._idle.pop(resident, None)

    def victim(self) -> Resident | None:
        return next(iter(self._idle), None)

    def __iter__(self) -> Iterator[Resident]:
        return iter(self._idle)

    def check(self) -> None:
        pass


class LeafFirst(LeastRecentlyUsed):
    """Of what nothing else builds on, whoever has been idle longest: KV before the adapter that it
    was computed with (Zhang et al., "FastLibra", 2025)."""

    def victim(self) -> Resident | None:
        leaves = (resident for resident in self if not resident.is_built_on)
        return next(leaves, None) or super().victim()


EVICTION: dict[str, Callable[[], EvictionPolicy]] = {
    "lru": LeastRecentlyUsed,
    "lru_leaf": LeafFirst,
    "distance": partial(OwnerOrder, by_cost=False),
    "distance_cost": partial(OwnerOrder, by_cost=True),
}

BELADY = "belady"
"""The order of `distance_cost` where everybody tells the truth: only a replay can ask for it."""


def eviction_policy(name: str) -> Callable[[], EvictionPolicy]:
    """What makes policies of this name."""
    return EVICTION["distance_cost" if name == BELADY else name]


class DoublesLast:
    """The order of the host: what the device has as well goes after all that it has not.

    The copy of something on the device was made for the time when it is evicted there; and what
    the device has evicted already was used less recently than what it has kept.
    """

    def __init__(self, make: Callable[[], EvictionPolicy]) -> None:
        self._singles = make()
        self.knows_owners = self._singles.knows_owners
        self._doubles = make()
        self._pages_of_single: dict[Resident, int] = {}
        self.num_single_pages = 0
        """Pages that are freed without taking a copy from what is on the device."""

    def add(self, resident: Resident) -> None:
        if _is_double(resident):
            self._doubles.add(resident)
            return
        self._singles.add(resident)
        self._pages_of_single[resident] = resident.num_pages
        self.num_single_pages += resident.num_pages

    def discard(self, resident: Resident) -> None:
        self._doubles.discard(resident)
        self._singles.discard(resident)
        self.num_single_pages -= self._pages_of_single.pop(resident, 0)

    def victim(self) -> Resident | None:
        return self._singles.victim() or self._doubles.victim()

    def __iter__(self) -> Iterator[Resident]:
        return chain(self._singles, self._doubles)

    def check(self) -> None:
        self._singles.check()
        self._doubles.check()
        must_agree(
            "doubles",
            [_is_double(resident) for resident in self],
            [*(False for _ in self._singles), *(True for _ in self._doubles)],
        )
        pages = {resident: resident.num_pages for resident in self._singles}
        must_agree("pages of single copies", self._pages_of_single, pages)
        must_agree("pages that are single", self.num_single_pages, sum(pages.values()))


def _is_double(resident: Resident) -> bool:
    return isinstance(resident, HostCopy) and resident.of.is_on_device
