"""Agents by the moment they are due: who comes next, and who is late."""

from collections.abc import Iterator
from heapq import merge
from typing import Generic, TypeVar

from motet.memory.clocks import Clock
from motet.memory.owner import Due, Owner

OwnerT = TypeVar("OwnerT", bound=Owner)

_Line = dict[float, dict[OwnerT, None]]


class Schedule(Generic[OwnerT]):
    """Of those who are due within the horizon of their clock. Others are no help."""

    def __init__(self) -> None:
        self._lines: dict[Clock, _Line[OwnerT]] = {}

    def slot(self, due: Due) -> dict[OwnerT, None]:
        """Where those stand who are due then: owners are put there, and taken out."""
        line = self._lines.get(due.clock)
        if line is None:
            line = self._lines[due.clock] = {}
        key = due.at // due.clock.resolution
        slot = line.get(key)
        if slot is None:
            slot = line[key] = {}
        return slot

    def nearest_first(self) -> Iterator[OwnerT]:
        """Changes in between are not to be seen."""
        lines = (_in_order(clock, line) for clock, line in self._lines.items())
        return (owner for _, slot in merge(*lines, key=_seconds) for owner in slot)

    def late(self) -> list[OwnerT]:
        """Who should have called by now."""
        late: list[OwnerT] = []
        for clock, line in self._lines.items():
            for key in [key for key in line if key * clock.resolution < clock.now]:
                late += line[key]
                if not line[key]:
                    del line[key]
        return late


def _in_order(clock: Clock, line: _Line[OwnerT]) -> Iterator[tuple[float, list[OwnerT]]]:
    for key in sorted(line):
        at = key * clock.resolution
        if at - clock.now > clock.horizon:
            return
        yield clock.seconds_to(at), list(line.get(key, ()))


def _seconds(entry: tuple[float, list[OwnerT]]) -> float:
    return entry[0]
