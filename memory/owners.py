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
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

from motet.memory.agreement import must_agree
from motet.memory.clocks import Clock
from motet.memory.lazy_heap import LazyHeap
from motet.memory.lazy_list import LazyList
from motet.memory.owner import Due, Owner
from motet.memory.residency import Resident, Worth

Classes = dict[int, dict[Resident, None]]


class Shelf:
    """What one owner has idle in one tier, by what it takes to restore, longest unused first."""

    __slots__ = ("bucket", "classes", "is_fresh", "order", "owner", "used")

    def __init__(self, owner: Owner, order: "OwnerOrder") -> None:
        self.owner = owner
        self.order = order
        self.classes: Classes = {}
        self.bucket = order.bucket_of(owner.due)
        self.is_fresh = False
        """Its bucket has not looked at it since something was put on it."""
        self.used = 0
        """When anything was put here last: counts what is put anywhere."""

    def move(self) -> None:
        """Only the new bucket is told: in the old one its entries are dead from now on."""
        bucket, old = self.order.bucket_of(self.owner.due), self.bucket
        if bucket is not old:
            old.num_shelves -= 1
            self.bucket = bucket
            bucket.add(self)

    def residents(self) -> Iterator[Resident]:
        for residents in self.classes.values():
            yield from residents


_Entry = tuple[int, int, Shelf]
"""Of a bucket: a class, when its shelf was used, and the shelf."""


class Bucket:
    """Shelves of owners who are due at the same time: the cheapest to restore goes first, then what
    was used least recently."""

    __slots__ = ("_fresh", "_heap", "num_shelves")

    def __init__(self) -> None:
        self.num_shelves = 0
        self._fresh: LazyList[Shelf] = LazyList(self._is_here)
        self._heap: LazyHeap[_Entry] = LazyHeap(self._is_live)
        """Of the shelves that are not fresh."""

    def add(self, shelf: Shelf) -> None:
        """It stands here from now on."""
        self.num_shelves += 1
        shelf.is_fresh = True
        self._fresh.append(shelf)

    def touch(self, shelf: Shelf) -> None:
        """Something more is put on it."""
        if not shelf.is_fresh:
            shelf.is_fresh = True
            self._fresh.append(shelf)

    def victim(self) -> Resident | None:
        first = self._first()
        return next(iter(first[2].classes[first[0]])) if first else None

    def __iter__(self) -> Iterator[Resident]:
        for kind, _, shelf in self._in_order():
            yield from shelf.classes[kind]

    def _first(self) -> _Entry | None:
        for shelf in self._fresh.take():
            shelf.is_fresh = False
            for entry in self._entries(shelf):
                self._heap.push(entry)
        return self._heap.first()

    def _in_order(self) -> list[_Entry]:
        shelves = {shelf for *_, shelf in self._heap} | set(self._fresh)
        return sorted(entry for shelf in shelves for entry in self._entries(shelf))

    def _entries(self, shelf: Shelf) -> Iterator[_Entry]:
        return ((kind, shelf.used, shelf) for kind in shelf.classes)

    def _is_here(self, shelf: Shelf) -> bool:
        return shelf.bucket is self and bool(shelf.classes)

    def _is_live(self, entry: _Entry) -> bool:
        kind, used, shelf = entry
        return shelf.bucket is self and shelf.used == used and kind in shelf.classes


class Unknown(Bucket):
    """Shelves of owners of whom nothing is known, and what nobody owns: longest unused first."""

    __slots__ = ("strangers",)

    def __init__(self) -> None:
        super().__init__()
        self.strangers: OrderedDict[Resident, int] = OrderedDict()
        """What nobody owns, and when it was put there."""

    def victim(self) -> Resident | None:
        first = self._first()
        stranger = next(iter(self.strangers.items()), None)
        if stranger is not None and (first is None or stranger[1] < first[1]):
            return stranger[0]
        return next(first[2].residents()) if first else None

    def __iter__(self) -> Iterator[Resident]:
        parts: list[tuple[int, Iterable[Resident]]] = [
            (used, shelf.residents()) for _, used, shelf in self._in_order()
        ]
        parts += [(used, (stranger,)) for stranger, used in self.strangers.items()]
        for _, residents in sorted(parts, key=lambda part: part[0]):
            yield from residents

    def _entries(self, shelf: Shelf) -> Iterator[_Entry]:
        yield (0, shelf.used, shelf)

    def _is_live(self, entry: _Entry) -> bool:
        _, used, shelf = entry
        return shelf.bucket is self and shelf.used == used and bool(shelf.classes)


MIN_BUCKETS = 64
"""So many are never too many, with shelves or without."""


@dataclass(slots=True)
class _Line:
    """The buckets of one clock, by the moment."""

    clock: Clock
    buckets: dict[float, Bucket] = field(default_factory=dict)
    keys: list[float] = field(default_factory=list)
    """Heap of negative keys."""
    enough: int = MIN_BUCKETS
    """Buckets among which it is time to look for empty ones."""

    def bucket_at(self, due: Due) -> Bucket:
        key = due.key
        bucket = self.buckets.get(key)
        if bucket is None:
            if len(self.buckets) >= self.enough:
                self._drop_empty()
            bucket = self.buckets[key] = Bucket()
            heappush(self.keys, -key)
        return bucket

    def farthest(self) -> tuple[float, Bucket] | None:
        """The last moment at which anybody is due who has something here."""
        while self.keys:
            key = -self.keys[0]
            bucket = self.buckets[key]
            if bucket.num_shelves:
                return key, bucket
            del self.buckets[key]
            heappop(self.keys)
        return None

    def _drop_empty(self) -> None:
        self.buckets = {key: bucket for key, bucket in self.buckets.items() if bucket.num_shelves}
        self.keys = sorted(-key for key in self.buckets)
        self.enough = max(MIN_BUCKETS, 2 * len(self.buckets))


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
        self._due: Due | None = None
        """Whose bucket was asked for last, and that one."""
        self._bucket: Bucket = self._unknown

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
            if bucket.num_shelves
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

    def check(self) -> None:
        """Raise BrokenInvariant where places, shelves and buckets disagree."""
        shelves = self._shelves.values()
        places = {
            resident: (shelf, kind)
            for shelf in shelves
            for kind, residents in shelf.classes.items()
            for resident in residents
        }
        must_agree("places", self._places, places)
        buckets = Counter(shelf.bucket for shelf in shelves)
        for bucket in self._buckets():
            must_agree("shelves of a bucket", bucket.num_shelves, buckets.pop(bucket, 0))
        must_agree("shelves that stand nowhere", buckets, Counter())
        for owner, shelf in self._shelves.items():
            must_agree("whose shelf it is", owner, shelf.owner)
            must_agree("it is known there", shelf in owner.shelves, True)
            must_agree("where it stands", shelf.bucket, self.bucket_of(owner.due))
        others = (*self._dead, *self._superseded, *self._unknown.strangers)
        must_agree("what is idle", Counter(self), Counter((*places, *others)))

    def _buckets(self) -> Iterator[Bucket]:
        yield from (self._never, self._unknown, self._calling)
        for line in self._lines.values():
            yield from line.buckets.values()

    def bucket_of(self, due: Due | None) -> Bucket:
        """Where shelves stand of owners who are due then."""
        if due is None:
            return self._unknown
        if due is self._due and self._bucket.num_shelves:  # as when many are told the same
            return self._bucket
        line = self._lines.get(due.clock)
        if line is None:
            line = self._lines[due.clock] = _Line(due.clock)
        if math.isinf(due.at):
            return self._never if due.at > 0 else self._calling
        self._due, self._bucket = due, line.bucket_at(due)
        return self._bucket

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
        for clock, line in self._lines.items():
            found = line.farthest()
            if found is None:
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
        shelf.classes.setdefault(kind, {})[resident] = None
        self._places[resident] = (shelf, kind)

    def _take(self, resident: Resident, shelf: Shelf, kind: int) -> None:
        residents = shelf.classes[kind]
        del residents[resident]
        if residents:
            return
        del shelf.classes[kind]
        if not shelf.classes:
            shelf.bucket.num_shelves -= 1
            shelf.owner.shelves.remove(shelf)
            del self._shelves[shelf.owner]


def _distance(clock: Clock, key: float) -> tuple[bool, float]:
    """Whether it is beyond the horizon, and seconds."""
    return key - clock.now > clock.horizon, clock.seconds_to(key)
