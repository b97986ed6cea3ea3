"""Moves objects between disk, host and device: one place for every change of residency on the way.

```
            read            load
    DISK  ------->  HOST  ------->  DUAL
                          <- - - -       eviction
                          write back
                   DUAL  <-------  READY
```
"""

from collections.abc import Sequence

from motet.memory.copies import Copies, UnderWay
from motet.memory.copy import CopyEnded, Direction, PagePair, ReadEnded
from motet.memory.page import Lease, PageOwner
from motet.memory.residency import HostCopy, Rank, Residency, StateObject
from motet.memory.room import Room
from motet.memory.transition import move


class Mover:
    """Begins moves, gives them up, and brings their objects to where they end."""

    def __init__(self, host: Room, copies: Copies) -> None:
        self.host = host
        self.copies = copies

    # Beginnings. There must be room.

    def load(
        self, subjects: Sequence[StateObject], device: Room, *, is_ahead: bool = False
    ) -> None:
        """From the host to the device; ahead where nobody waits for it yet."""
        leases = [_reserve(device, state.size) for state in subjects]
        pairs: list[PagePair] = []
        for state, lease in zip(subjects, leases, strict=True):
            pairs += _pairs(_host_lease(state), lease)
            state.lease = lease
            self._host_use(state)
            move(state, Residency.LOADING)
            device.expected[state] = None
        self.copies.copy(Direction.TO_DEVICE, subjects, device, leases, pairs, is_ahead=is_ahead)

    def write_back(self, subjects: Sequence[StateObject]) -> None:
        """From the device, where they stay, to the host."""
        leases = [_reserve(self.host, state.size) for state in subjects]
        pairs: list[PagePair] = []
        for state, lease in zip(subjects, leases, strict=True):
            assert state.lease is not None
            pairs += _pairs(lease, state.lease)
            state.host = HostCopy(lease, references=1, of=state)
            move(state, Residency.WRITEBACK)
        self.copies.copy(Direction.TO_HOST, subjects, self.host, leases, pairs)

    def read(self, state: StateObject, path: str, digest: str | None) -> None:
        """From disk to the host; where its size is not known, only to know it."""
        lease = _reserve(self.host, state.size) if state.size else None
        if lease is not None:
            state.host = HostCopy(lease, references=1, wanted=state.wanted, of=state)
            self.host.expected[state.host] = None
        move(state, Residency.READING)
        self.copies.read(state, self.host, lease, path, digest)

    # Ends.

    def end_copy(self, event: CopyEnded) -> UnderWay | None:
        """Those of its objects that are complete have come; the others are where they were.

        The copy, if somebody has waited for it.
        """
        ended = self._end(event)
        if ended is None:
            return None
        num_pages = event.num_pages
        for state, lease in zip(ended.subjects, ended.leases, strict=True):
            num_pages -= state.size
            if ended.line is Direction.TO_DEVICE:
                self._end_load(state, lease, ended.room, has_come=num_pages >= 0)
            else:
                self._end_write_back(state, lease, has_come=num_pages >= 0)
        return ended

    def end_read(self, event: ReadEnded) -> UnderWay | None:
        """The read, if somebody has waited for it. What it has found is the caller's affair."""
        ended = self._end(event)
        if ended is None:
            return None
        [state] = ended.subjects
        if state.host is None:
            move(state, Residency.DISK)
            return ended
        del self.host.expected[state.host]
        if event.content is None:
            self._lose_host_copy(state)
            move(state, Residency.DISK)
        else:
            self.host.pool.relabel(_host_lease(state), state.owner)
            move(state, Residency.HOST)
            self.host.release(state.host)
        return ended

    def give_up(self, under_way: UnderWay) -> None:
        """Its objects are where they were. The pages that it fills come back when it has ended."""
        for lease in under_way.leases:
            under_way.room.pool.relabel(lease, PageOwner.QUARANTINED)
        self.copies.give_up(under_way)
        for state in under_way.subjects:
            match under_way.line:
                case Direction.TO_DEVICE:
                    del under_way.room.expected[state]
                    self._return_to_host(state)
                case Direction.TO_HOST:
                    state.host = None
                    move(state, Residency.READY)
                case None:
                    if state.host is not None:
                        del self.host.expected[state.host]
                        state.host = None
                    move(state, Residency.DISK)
            state.note()

    def hurry(self, room: Room, num_missing: int, rank: Rank) -> None:
        """Give up what is on its way to `room` for requests behind `rank`, as far as it helps."""
        for expected in room.expected_behind(rank):
            if room.pool.count(PageOwner.QUARANTINED) >= num_missing:
                return
            if expected in room.expected:  # else it went with one before
                state = expected.of if isinstance(expected, HostCopy) else expected
                assert isinstance(state, StateObject)
                self.give_up(self.copies.of(state))

    # One place for each change.

    def _end(self, event: CopyEnded | ReadEnded) -> UnderWay | None:
        ended = self.copies.end(event.ticket)
        if ended is None:
            return None
        if ended.is_given_up:
            for lease in ended.leases:
                ended.room.give_back(lease)
            return None
        if event.error is not None:
            self.copies.counters.failed += 1
        return ended

    def _end_load(self, state: StateObject, lease: Lease, room: Room, *, has_come: bool) -> None:
        del room.expected[state]
        if has_come:
            room.pool.relabel(lease, state.owner)
            move(state, Residency.DUAL)
            room.enter(state)
            self._host_leave(state)
        else:
            room.give_back(lease)
            self._return_to_host(state)
        state.note()

    def _end_write_back(self, state: StateObject, lease: Lease, *, has_come: bool) -> None:
        if has_come:
            self.host.pool.relabel(lease, state.owner)
            move(state, Residency.DUAL)
            self._host_leave(state)
        else:
            self._lose_host_copy(state)
            move(state, Residency.READY)
        state.note()

    def _return_to_host(self, state: StateObject) -> None:
        state.lease = None
        move(state, Residency.HOST)
        self._host_leave(state)

    def _host_use(self, state: StateObject) -> None:
        assert state.host is not None
        self.host.acquire(state.host)

    def _host_leave(self, state: StateObject) -> None:
        assert state.host is not None
        self.host.release(state.host)

    def _lose_host_copy(self, state: StateObject) -> None:
        self.host.give_back(_host_lease(state))
        state.host = None


def _reserve(room: Room, num_pages: int) -> Lease:
    lease = room.pool.reserve(num_pages, PageOwner.TRANSFER)
    assert lease is not None, "there must be room"
    return lease


def _host_lease(state: StateObject) -> Lease:
    assert state.host is not None and state.host.lease is not None
    return state.host.lease


def _pairs(host: Lease, device: Lease) -> list[PagePair]:
    return [PagePair(*pair) for pair in zip(host.pages, device.pages, strict=True)]
