"""Idle state in the order of who owns it: whose next call is farthest off goes first.

Owners are ordered, not pages: what an owner has in a tier stands on a shelf, and shelves stand in
buckets by the moment the owner is due. When that changes, shelves move; time passing moves nothing.
What several own stands with the nearest of them, as far as was known when it was put there; it is
put right when it comes up as a victim.

```
first                                                                                   last
dead weight | superseded | never | beyond the horizon | unknown | within the horizon | calling
                                   farthest first       longest   farthest first
                                                        unused
```
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

from motet.memory.clocks import Clock
from motet.memory.lazy_heap import LazyHeap
from motet.memory.owner import Due, Owner
from motet.memory.residency import Resident, Worth

Classes = dict[int, dict[Resident, None]]


class Shelf:
    """What one owner has idle in one tier, by what it takes to restore, longest unused first."""

    __slots__ = ("bucket", "classes", "order", "owner", "used")

    def __init__(self, owner: Owner, order: "OwnerOrder") -> None:
        self.owner = owner
        self.order = order
        self.classes: Classes = {}
        self.bucket = order.bucket_of(owner)
        self.used = 0
        """When anything was put here last: counts what is put anywhere."""

    def move(self) -> None:
        self.order.move(self)


class Bucket:
    """Shelves of owners who are due at the same time: the cheapest to restore goes first, then what
    was used least recently."""

    __slots__ = ("_by_class", "shelves")

    def __init__(self) -> None:
        self.shelves: dict[Shelf, None] = {}
        self._by_class: dict[int, dict[Shelf, None]] | None = None
        """Made when the first victim is asked for, and kept from then on."""

    def add(self, shelf: Shelf) -> None:
        self.shelves[shelf] = None
        if self._by_class is not None:
            for kind in shelf.classes:
                self._by_class.setdefault(kind, {})[shelf] = None

    def discard(self, shelf: Shelf) -> None:
        del self.shelves[shelf]
        if self._by_class is not None:
            for kind in shelf.classes:
                self.leave_class(shelf, kind)

    def touch(self, shelf: Shelf) -> None:
        """Something more is put on it."""

    def enter_class(self, shelf: Shelf, kind: int) -> None:
        """The first of its class stands on the shelf."""
        if self._by_class is not None:
            self._by_class.setdefault(kind, {})[shelf] = None

    def leave_class(self, shelf: Shelf, kind: int) -> None:
        """The last of its class is gone."""
        if self._by_class is not None:
            del self._by_class[kind][shelf]
            if not self._by_class[kind]:
                del self._by_class[kind]

    def victim(self) -> Resident | None:
        if not self.shelves:
            return None
        if self._by_class is None:
            self._by_class = {}
            for shelf in self.shelves:
                self.add(shelf)
        kind = min(self._by_class)
        return next(iter(next(iter(self._by_class[kind])).classes[kind]))

    def __iter__(self) -> Iterator[Resident]:
        kinds = {kind for shelf in self.shelves for kind in shelf.classes}
        for kind in sorted(kinds):
            for shelf in self.shelves:
                yield from shelf.classes.get(kind, ())


class Unknown(Bucket):
    """Shelves of owners of whom nothing is known, and what nobody owns: longest unused first."""

    __slots__ = ("_heap", "strangers")

    def __init__(self) -> None:
        super().__init__()
        self.strangers: dict[Resident, int] = {}
        """What nobody owns, and when it was put there."""
        self._heap: LazyHeap[tuple[int, Shelf]] = LazyHeap(self._is_live)

    def add(self, shelf: Shelf) -> None:
        self.shelves[shelf] = None
        self.touch(shelf)

    def discard(self, shelf: Shelf) -> None:
        del self.shelves[shelf]

    def touch(self, shelf: Shelf) -> None:
        self._heap.push((shelf.used, shelf))

    def victim(self) -> Resident | None:
        first = self._heap.first()
        stranger = next(iter(self.strangers.items()), None)
        if stranger is not None and (first is None or stranger[1] < first[0]):
            return stranger[0]
        return next(_residents(first[1])) if first else None

    def __iter__(self) -> Iterator[Resident]:
        parts: list[tuple[int, Iterable[Resident]]] = [
            (shelf.used, _residents(shelf)) for shelf in self.shelves
        ]
        parts += [(used, (stranger,)) for stranger, used in self.strangers.items()]
        for _, residents in sorted(parts, key=lambda part: part[0]):
            yield from residents

    def _is_live(self, entry: tuple[int, Shelf]) -> bool:
        return entry[1] in self.shelves and entry[1].used == entry[0]


@dataclass(slots=True)
class _Line:
    """The buckets of one clock, by the moment."""

    clock: Clock
    buckets: dict[float, Bucket] = field(default_factory=dict)
    keys: list[float] = field(default_factory=list)
    """Heap of negative keys; those of buckets that are gone among them."""
    by_due: dict[Due, Bucket] = field(default_factory=dict)
    """Those that were asked for since the last victim: a push names the same moments many times."""

    def bucket_at(self, due: Due) -> Bucket:
        key = self._key(due.at)
        bucket = self.buckets.get(key)
        if bucket is None:
            bucket = self.buckets[key] = Bucket()
            heappush(self.keys, -key)
        self.by_due[due] = bucket
        return bucket

    def farthest(self) -> tuple[float, Bucket] | None:
        """The last moment at which anybody is due who has something here."""
        self.by_due.clear()
        while self.keys:
            key = -self.keys[0]
            bucket = self.buckets.get(key)
            if bucket is not None and bucket.shelves:
                return key, bucket
            self.buckets.pop(key, None)
            heappop(self.keys)
        return None

    def _key(self, at: float) -> float:
        """Exact as far as the horizon, then the coarser the farther."""
        clock = self.clock
        grain, distance = clock.resolution, at - clock.now
        if distance > clock.horizon:
            grain *= 2.0 ** int(math.log2(distance / clock.horizon))
        return at - at % grain


class OwnerOrder:
    """An `EvictionPolicy`."""

    knows_owners = True

    def __init__(self, *, by_cost: bool) -> None:
        """`by_cost`: of those who are due at the same time, the cheapest to restore goes first."""
        self._by_cost = by_cost
        self._dead: dict[Resident, None] = {}
        self._superseded: dict[Resident, None] = {}
        self._never = Bucket()
        self._unknown = Unknown()
        self._calling = Bucket()
        self._lines: dict[Clock, _Line] = {}
        self._shelves: dict[Owner, Shelf] = {}
        self._places: dict[Resident, tuple[Shelf, int]] = {}
        self._num_added = 0

    def add(self, resident: Resident) -> None:
        """It has become idle: this is its last use."""
        self._num_added += 1
        worth = resident.worth
        if worth is Worth.DEAD:
            self._dead[resident] = None
        elif worth is Worth.SUPERSEDED:
            self._superseded[resident] = None
        else:
            owner = resident.nearest_owner()
            if owner is None:
                self._unknown.strangers[resident] = self._num_added
            else:
                self._put(resident, owner)

    def discard(self, resident: Resident) -> None:
        """It is in use again, or gone."""
        place = self._places.pop(resident, None)
        if place is not None:
            self._take(resident, *place)
            return
        for others in (self._unknown.strangers, self._superseded, self._dead):
            if resident in others:
                del others[resident]
                return

    def move(self, shelf: Shelf) -> None:
        """Its owner is due at another time."""
        bucket = self.bucket_of(shelf.owner)
        if bucket is not shelf.bucket:
            shelf.bucket.discard(shelf)
            shelf.bucket = bucket
            bucket.add(shelf)

    def victim(self) -> Resident | None:
        while True:
            resident = self._first()
            if resident is None or not self._put_right(resident):
                return resident

    def __iter__(self) -> Iterator[Resident]:
        """Everything that is idle, first victim first, as it stands."""
        yield from self._dead
        yield from self._superseded
        yield from self._never
        buckets = [
            (*_distance(line.clock, key), bucket)
            for line in self._lines.values()
            for key, bucket in line.buckets.items()
            if bucket.shelves
        ]
        buckets.sort(key=lambda entry: entry[:2], reverse=True)
        for is_beyond, _, bucket in buckets:
            if is_beyond:
                yield from bucket
        yield from self._unknown
        for is_beyond, _, bucket in buckets:
            if not is_beyond:
                yield from bucket
        yield from self._calling

    def bucket_of(self, owner: Owner) -> Bucket:
        due = owner.due
        if due is None:
            return self._unknown
        line = self._lines.get(due.clock)
        if line is None:
            line = self._lines[due.clock] = _Line(due.clock)
        bucket = line.by_due.get(due)
        if bucket is not None:
            return bucket
        if math.isinf(due.at):
            return self._never if due.at > 0 else self._calling
        return line.bucket_at(due)

    def _first(self) -> Resident | None:
        for worthless in (self._dead, self._superseded):
            if worthless:
                return next(iter(worthless))
        farthest, is_beyond = self._farthest()
        if farthest is not None and is_beyond:
            return self._never.victim() or farthest.victim()
        known = farthest.victim() if farthest is not None else None
        return self._never.victim() or self._unknown.victim() or known or self._calling.victim()

    def _farthest(self) -> tuple[Bucket | None, bool]:
        """Of all moments at which somebody is due the last, and whether that is beyond the horizon
        of its clock."""
        last = (False, -math.inf)
        farthest: Bucket | None = None
        for clock, line in list(self._lines.items()):
            found = line.farthest()
            if found is None:
                del self._lines[clock]
                continue
            distance = _distance(clock, found[0])
            if distance > last:
                last, farthest = distance, found[1]
        return farthest, last[0]

    def _put_right(self, resident: Resident) -> bool:
        """Does it stand elsewhere from now on, because more is known of it?"""
        place = self._places.get(resident)
        if place is None:
            is_where_it_belongs = (
                resident.worth is not Worth.LIVE or resident.nearest_owner() is None
            )
            if is_where_it_belongs:
                return False
        else:
            standing, owner = place[0].owner, resident.nearest_owner()
            if owner is standing or owner is None or owner.distance_s >= standing.distance_s:
                return False
        self.discard(resident)
        self.add(resident)
        return True

    def _put(self, resident: Resident, owner: Owner) -> None:
        kind = resident.restore_class if self._by_cost else 0
        shelf = self._shelves.get(owner)
        if shelf is None:
            shelf = self._shelves[owner] = Shelf(owner, self)
            owner.shelves.append(shelf)
        shelf.used = self._num_added
        if shelf.classes:
            shelf.bucket.touch(shelf)
        else:
            shelf.bucket.add(shelf)
        if kind not in shelf.classes:
            shelf.classes[kind] = {}
            shelf.bucket.enter_class(shelf, kind)
        shelf.classes[kind][resident] = None
        self._places[resident] = (shelf, kind)

    def _take(self, resident: Resident, shelf: Shelf, kind: int) -> None:
        residents = shelf.classes[kind]
        del residents[resident]
        if residents:
            return
        shelf.bucket.leave_class(shelf, kind)
        del shelf.classes[kind]
        if not shelf.classes:
            shelf.bucket.discard(shelf)
            shelf.owner.shelves.remove(shelf)
            del self._shelves[shelf.owner]


def _distance(clock: Clock, key: float) -> tuple[bool, float]:
    """Whether it is beyond the horizon, and seconds."""
    return key - clock.now > clock.horizon, clock.seconds_to(key)


def _residents(shelf: Shelf) -> Iterator[Resident]:
    for residents in shelf.classes.values():
        yield from residents
