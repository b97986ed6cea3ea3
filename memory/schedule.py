"""Agents by the moment they are due: who comes next, and of whom it is too late to believe that."""

from collections.abc import Iterator
from heapq import merge
from typing import Any, Generic, Protocol, TypeVar

from motet.memory.agreement import must_agree
from motet.memory.clocks import Clock
from motet.memory.lazy_heap import LazyHeap
from motet.memory.lazy_list import LazyList
from motet.memory.owner import Due


class Scheduled(Protocol):
    """Who stands in a schedule as long as it is due at some moment."""

    due: Due | None
    slot: "Slot[Any] | None"
    """Where it stands; None: nowhere."""
    is_open: bool
    """Somebody has to look at it before it is due."""


ScheduledT = TypeVar("ScheduledT", bound=Scheduled)


class Slot(Generic[ScheduledT]):
    """Those who are due at the same moment. To leave is to have another slot, or none."""

    __slots__ = ("all", "open")

    def __init__(self) -> None:
        self.all: LazyList[ScheduledT] = LazyList(self._is_here)
        self.open: LazyList[ScheduledT] = LazyList(self._is_open)

    def take(self, owner: ScheduledT) -> None:
        """It stands here from now on, and is to be looked at."""
        owner.slot = self
        owner.is_open = True
        self.all.append(owner)
        self.open.append(owner)

    def _is_here(self, owner: ScheduledT) -> bool:
        return owner.slot is self

    def _is_open(self, owner: ScheduledT) -> bool:
        return owner.slot is self and owner.is_open


class _Line(Generic[ScheduledT]):
    """Slots of one clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.late: Slot[ScheduledT] = Slot()
        """Of those whose moment has passed."""
        self.ending: LazyHeap[tuple[float, int, ScheduledT]] = LazyHeap(self._is_ending)
        """The same, by when that is worth nothing."""
        self.slots: dict[float, Slot[ScheduledT]] = {}
        self._num_late = 0
        self._keys: list[float] | None = None

    @property
    def keys(self) -> list[float]:
        """In order."""
        if self._keys is None:
            self._keys = sorted(self.slots)
        return self._keys

    def slot(self, due: Due) -> Slot[ScheduledT]:
        slot = self.slots.get(due.key)
        if slot is None:
            slot = self.slots[due.key] = Slot()
            self._keys = None
        return slot

    def pass_time(self) -> None:
        """Some have become late."""
        keys = self.keys
        num_passed = 0
        while num_passed < len(keys) and keys[num_passed] < self.clock.now:
            for owner in self.slots.pop(keys[num_passed]).all:
                self._be_late(owner)
            num_passed += 1
        del keys[:num_passed]

    def _be_late(self, owner: ScheduledT) -> None:
        assert owner.due is not None
        owner.slot = self.late
        self._num_late += 1
        self.ending.push((owner.due.ends, self._num_late, owner))
        if owner.is_open:
            self.late.open.append(owner)

    def nearest_first(self) -> Iterator[tuple[float, Slot[ScheduledT]]]:
        """Slots in which somebody may be open, and when they are due, in seconds."""
        clock = self.clock
        yield clock.seconds_to(clock.now), self.late
        for key in self.keys:
            if key - clock.now > clock.horizon:
                return
            slot = self.slots.get(key)
            if slot is not None and len(slot.open):
                yield clock.seconds_to(key), slot

    def _is_ending(self, entry: tuple[float, int, ScheduledT]) -> bool:
        ends, _, owner = entry
        return owner.slot is self.late and owner.due is not None and owner.due.ends == ends


class Schedule(Generic[ScheduledT]):
    """Of those who are due at a moment: who is not due within the horizon costs nothing."""

    def __init__(self) -> None:
        self._lines: dict[Clock, _Line[ScheduledT]] = {}

    def slot(self, due: Due) -> Slot[ScheduledT]:
        """Where those stand who are due then."""
        line = self._lines.get(due.clock)
        if line is None:
            line = self._lines[due.clock] = _Line(due.clock)
        return line.slot(due)

    def place(self, owner: ScheduledT, due: Due) -> None:
        """It stands where those stand who are due then, and nowhere else."""
        self.slot(due).take(owner)

    def reopen(self, owner: ScheduledT) -> None:
        """There is something to look at again."""
        if owner.slot is not None and not owner.is_open:
            owner.is_open = True
            owner.slot.open.append(owner)

    def nearest_first(self) -> Iterator[ScheduledT]:
        """The open ones within the horizon. Who is placed in between may be seen or not."""
        lines = (line.nearest_first() for line in list(self._lines.values()))
        for _, slot in merge(*lines, key=_seconds):
            yield from slot.open

    def take_late(self) -> list[ScheduledT]:
        """Who is so late that what was said of it is worth nothing: they stand nowhere then."""
        late: list[ScheduledT] = []
        for line in self._lines.values():
            line.pass_time()
            while (first := line.ending.first()) is not None and first[0] < line.clock.now:
                *_, owner = line.ending.pop()
                owner.slot = None
                late.append(owner)
        return late

    def check(self, owners: "set[ScheduledT]") -> None:
        """Raise BrokenInvariant unless these stand in it, each where it should."""
        standing = {owner for line in self._lines.values() for *_, owner in line.ending}
        is_open = {owner for line in self._lines.values() for owner in line.late.open}
        for line in self._lines.values():
            for key, slot in line.slots.items():
                for owner in slot.all:
                    must_agree(f"when {owner} is due", owner.due and owner.due.key, key)
                standing |= set(slot.all)
                is_open |= set(slot.open)
        must_agree("who is scheduled", standing, owners)
        must_agree("who is open", is_open, {owner for owner in owners if owner.is_open})


def _seconds(entry: tuple[float, object]) -> float:
    return entry[0]
