"""Adapters: on the host, on the way, or on the device for as long as room lasts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from motet.memory.adapter import Adapter
from motet.memory.agreement import must_agree
from motet.memory.copies import Copies, CopyUnderWay
from motet.memory.copy import CopyEnded
from motet.memory.lazy_heap import LazyHeap
from motet.memory.page import PageId, PageOwner
from motet.memory.residency import Rank, Residency, StateObject
from motet.memory.room import Answer, Room
from motet.memory.transition import Legal, move

MAX_LOADS = 8
"""Adapters that are on their way or have come, and nobody runs on them yet: enough to keep a link
busy, few enough to leave the device to those who run, and to take the next in order."""

MAX_LOST = 3
"""After so many copies in a row that did not end, those who wait for the adapter are told."""

ADAPTER_MOVES: Legal[Residency] = {
    Residency.ABSENT: frozenset({Residency.HOST}),
    Residency.HOST: frozenset({Residency.LOADING}),
    Residency.LOADING: frozenset({Residency.DUAL, Residency.HOST}),
    Residency.DUAL: frozenset({Residency.HOST}),
}


@dataclass(slots=True, eq=False)
class AdapterState(StateObject):
    """The pages of one adapter content, shared by every name bound to it."""

    legal: ClassVar[Legal[Residency]] = ADAPTER_MOVES

    cache: "AdapterCache" = field(kw_only=True)
    digest: str = field(kw_only=True)
    size: int = field(kw_only=True)
    """Pages the adapter takes on the device."""
    num_lost: int = 0
    """Copies in a row that did not end."""

    def leave_device(self) -> Iterator[StateObject]:
        """Costs nothing: the host has an image."""
        move(self, Residency.HOST)
        self.cache.note(self)
        yield self

    def __str__(self) -> str:
        return f"adapter {self.digest[:12]}"


class AdapterCache:
    """Loads what is wanted, in the order of who wants it; keeps what was used while room lasts."""

    def __init__(self, room: Room, copies: Copies) -> None:
        self._room = room
        self._copies = copies
        self._adapters: dict[str, AdapterState] = {}
        self._ready: dict[str, Rank] = {}
        self._to_load: LazyHeap[tuple[Rank, str]] = LazyHeap(self._is_to_load)

    # Who there is.

    def register(self, adapter: Adapter) -> None:
        """The adapter's host image is complete. Equal content under another name is the same."""
        if adapter.digest not in self._adapters:
            state = AdapterState(cache=self, digest=adapter.digest, size=adapter.num_pages)
            move(state, Residency.HOST)
            self._adapters[adapter.digest] = state

    def get(self, digest: str) -> AdapterState | None:
        return self._adapters.get(digest)

    def pages(self, digest: str) -> tuple[PageId, ...]:
        """Where an adapter lies that is on the device."""
        lease = self._adapters[digest].lease
        assert lease is not None
        return lease.pages

    # Who wants and who uses it.

    @property
    def ready(self) -> Mapping[str, Rank]:
        """Digest -> first request that waits for it, of the adapters that are on the device."""
        return self._ready

    def want(self, digest: str, rank: Rank | None) -> None:
        """The first request that waits for the adapter is `rank`; None: nobody waits."""
        state = self._adapters[digest]
        if state.wanted != rank:
            self._room.want(state, rank)
            self.note(state)

    def acquire(self, digest: str) -> None:
        """One more user of an adapter that is on the device."""
        self._room.acquire(self._adapters[digest])

    def release(self, digest: str) -> None:
        self._room.release(self._adapters[digest])

    # Loads.

    def load_wanted(self, num_reserved: int) -> Rank | None:
        """Begin copies of what is wanted; leave `num_reserved` pages to those who run.

        The first request for whose adapter there is no room before others end: whoever comes after
        it must not take more.
        """
        while (first := self._to_load.first()) is not None:
            rank, digest = first
            state = self._adapters[digest]
            if self._num_ahead(rank) >= MAX_LOADS:
                self._give_up_unwanted()
            if self._num_ahead(rank) >= MAX_LOADS:
                return None
            answer = self._room.answer(state.size, rank, num_reserved)
            if answer is Answer.NO:
                return rank
            if answer is Answer.SOON:
                self.hurry(state.size, rank, num_reserved)
                # A copy may be long in ending. Others do not wait for it where they are no help.
                return rank if self._room.has_beside_copies(state.size, rank) else None
            self._to_load.pop()
            self._load(state, rank)
        return None

    def ended(self, event: CopyEnded) -> dict[str, str]:
        """A copy has ended; perhaps one that is not waited for, or has ended before.

        Digest -> why, of adapters that do not come.
        """
        copy = self._copies.end(event)
        if copy is None:
            return {}
        if copy.is_given_up:
            self._room.give_back(copy.lease)
            return {}
        state = copy.subject
        assert isinstance(state, AdapterState)
        del self._room.expected[state]
        if event.error is None and event.num_pages == state.size:
            state.num_lost = 0
            self._room.pool.relabel(copy.lease, PageOwner.ADAPTER)
            move(state, Residency.DUAL)
            self._room.enter(state)
            self.note(state)
            return {}
        self._copies.counters.failed += 1
        self._room.give_back(copy.lease)
        self._return_to_host(state)
        return {state.digest: event.error or f"{event.num_pages} of {state.size} pages came"}

    def look_for_lost(self) -> dict[str, str]:
        """Begin lost copies anew, or give up after some. Digest -> why."""
        failures = {}
        for copy in self._copies.overdue():
            if copy.is_given_up:
                self._copies.ask(copy)
                continue
            state = copy.subject
            assert isinstance(state, AdapterState)
            self._copies.counters.lost += 1
            state.num_lost += 1
            self._give_up(copy)
            if state.num_lost == MAX_LOST:
                state.num_lost = 0
                failures[state.digest] = f"{MAX_LOST} copies in a row have not ended"
        return failures

    def hurry(self, num_pages: int, rank: Rank, num_reserved: int = 0) -> None:
        """Give up copies for requests behind `rank`, as many as it takes to make room."""
        num_missing = self._room.num_missing(num_pages, rank, num_reserved)
        for state in self._room.expected_behind(rank):
            if self._room.pool.count(PageOwner.QUARANTINED) >= num_missing:
                return
            self._give_up(self._copies.of(state))

    def note(self, state: AdapterState) -> None:
        """Its residency or who wants it has changed: it is ready, or to be loaded, or neither."""
        self._ready.pop(state.digest, None)
        if state.wanted is None:
            return
        self._room.version += 1
        if state.is_on_device:
            self._ready[state.digest] = state.wanted
        elif state.state is Residency.HOST:
            self._to_load.push((state.wanted, state.digest))

    # Counts.

    def states(self) -> list[AdapterState]:
        return list(self._adapters.values())

    def references(self) -> dict[str, int]:
        """Digest -> references, of the adapters in use."""
        return {d: state.references for d, state in self._adapters.items() if state.references}

    def check(self) -> None:
        """Raise BrokenInvariant where two views of who is wanted or on the way disagree."""
        wanted = {d: s.wanted for d, s in self._adapters.items() if s.wanted is not None}
        ready = {d: rank for d, rank in wanted.items() if self._adapters[d].is_on_device}
        must_agree("wanted adapters on the device", self._ready, ready)
        absent = {(r, d) for d, r in wanted.items() if self._adapters[d].state is Residency.HOST}
        must_agree("adapters to load", set(self._to_load), absent)
        loading = {s for s in self._adapters.values() if s.state is Residency.LOADING}
        must_agree("expected adapters", set(self._room.expected), loading)
        awaited = [copy.subject for copy in self._copies if not copy.is_given_up]
        must_agree("subjects of copies", set(awaited), loading)
        must_agree("copies that are waited for", len(awaited), len(loading))

    # One place for each change.

    def _load(self, state: AdapterState, rank: Rank) -> None:
        has_room = self._room.make(state.size, rank)
        assert has_room, "the answer was now"
        state.lease = self._room.pool.reserve(state.size, PageOwner.TRANSFER)
        assert state.lease is not None
        move(state, Residency.LOADING)
        self._room.expected[state] = None
        self._copies.load(state, state.digest, state.lease)

    def _num_ahead(self, rank: Rank) -> int:
        """Adapters that are on their way, or are kept for requests before `rank`."""
        return len(self._room.expected) + self._room.num_kept(rank)

    def _give_up_unwanted(self) -> None:
        """A copy that nobody waits for any more goes on as long as it is in nobody's way."""
        for state in [state for state in self._room.expected if state.wanted is None]:
            self._give_up(self._copies.of(state))

    def _give_up(self, copy: CopyUnderWay) -> None:
        """The adapter is on the host again; the pages come back when the copy has ended."""
        state = copy.subject
        assert isinstance(state, AdapterState)
        self._room.pool.relabel(copy.lease, PageOwner.QUARANTINED)
        self._copies.give_up(copy)
        del self._room.expected[state]
        self._return_to_host(state)

    def _return_to_host(self, state: AdapterState) -> None:
        state.lease = None
        move(state, Residency.HOST)
        self.note(state)

    def _is_to_load(self, entry: tuple[Rank, str]) -> bool:
        """Is it still wanted by this request, and not there or on its way?"""
        rank, digest = entry
        state = self._adapters[digest]
        return state.wanted == rank and state.state is Residency.HOST
