"""Adapters: on disk, on the host, on the way, or on the device for as long as room lasts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from motet.memory.adapter import AdapterContent
from motet.memory.agreement import must_agree
from motet.memory.copies import UnderWay
from motet.memory.copy import CopyEnded, Direction, Read, ReadEnded, Ticket
from motet.memory.costs import Costs
from motet.memory.kv_cache import KvCache
from motet.memory.lazy_heap import LazyHeap
from motet.memory.mover import Mover
from motet.memory.owner import Owner, nearest
from motet.memory.page import PageId, PageOwner
from motet.memory.prefix import PrefixNode
from motet.memory.residency import HostCopy, Rank, Residency, Resident, StateObject, Worth
from motet.memory.room import Answer, Room
from motet.memory.transition import Legal, move
from motet.memory.write_back import WriteBack

MAX_LOADS = 8
"""Adapters that are on their way or have come, and nobody runs on them yet: enough to keep a link
busy, few enough to leave the device to those who run, and to take the next in order."""

MAX_READS = 4
"""Adapters that are read at once: readers are busy, and the next in order is not far behind."""

MAX_LOST = 3
"""After so many copies in a row that did not end, those who wait for the adapter are told."""

ADAPTER_MOVES: Legal[Residency] = {
    Residency.ABSENT: frozenset({Residency.DISK}),
    Residency.DISK: frozenset({Residency.READING}),
    Residency.READING: frozenset({Residency.HOST, Residency.DISK}),
    Residency.HOST: frozenset({Residency.LOADING, Residency.DISK}),
    Residency.LOADING: frozenset({Residency.DUAL, Residency.HOST}),
    Residency.DUAL: frozenset({Residency.HOST, Residency.READY}),
    Residency.READY: frozenset({Residency.DISK}),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an adapter does not come to those who wait for it."""

    adapter: "AdapterState"
    error: str
    kind: str
    """Name of the error in `motet.errors`."""


@dataclass(slots=True, eq=False)
class AdapterState(StateObject):
    """One adapter content, shared by every name that is bound to it."""

    legal: ClassVar[Legal[Residency]] = ADAPTER_MOVES
    owner: ClassVar[PageOwner] = PageOwner.ADAPTER

    cache: "AdapterCache" = field(kw_only=True)
    paths: list[str] = field(default_factory=list)
    """Directories that have it: one for each generation of a name that means it."""
    content: AdapterContent | None = None
    """As far as it is known."""
    waited: Rank | None = None
    """The first request that waits for it."""
    called: Rank | None = None
    """The first command that does."""
    owners: dict[Owner, None] = field(default_factory=dict)
    """Agents that called it last."""
    num_pins: int = 0
    num_lost: int = 0
    """Copies in a row that did not end."""
    is_broken: bool = False
    """It could not be read when it was last tried: not before somebody waits for it."""
    hits: int = 0
    loads: int = 0
    evictions: int = 0
    came_s: float = 0.0
    """When it last came to the device."""

    @property
    def digest(self) -> str | None:
        return self.content.digest if self.content else None

    @property
    def size(self) -> int:
        """Pages it takes; 0 as long as that is not known."""
        return self.content.num_pages if self.content else 0

    @property
    def is_clean(self) -> bool:
        """The host or the disk has it."""
        return True

    def nearest_owner(self) -> Owner | None:
        return nearest(self.owners)

    @property
    def worth(self) -> Worth:
        return Worth.LIVE

    @property
    def is_built_on(self) -> bool:
        return any(node.is_on_device for node in self.cache.first_pages(self))

    @property
    def is_host_copy_built_on(self) -> bool:
        return any(node.host is not None for node in self.cache.first_pages(self))

    @property
    def restore_class(self) -> int:
        return self.cache.copied_class if self.state is Residency.DUAL else self.cache.read_class

    @property
    def host_restore_class(self) -> int:
        return self.cache.read_class

    def leave(self) -> Iterator[Resident]:
        self.evictions += 1
        move(self, Residency.HOST if self.state is Residency.DUAL else Residency.DISK)
        for owner in self.owners:
            owner.lose()
        self.note()
        yield self

    def leave_host(self) -> Iterator[HostCopy]:
        copy, self.host = self.host, None
        assert copy is not None
        move(self, Residency.READY if self.is_on_device else Residency.DISK)
        self.note()
        yield copy

    def note(self) -> None:
        self.cache.note(self)

    def __str__(self) -> str:
        return f"adapter {self.digest[:12]}" if self.digest else f"adapter in {self.paths}"


class AdapterCache:
    """Brings what is wanted, in the order of who wants it; keeps what was used while room lasts."""

    def __init__(
        self, room: Room, mover: Mover, write_back: WriteBack, kv: KvCache, costs: Costs
    ) -> None:
        """`kv`: what is computed with adapters, and of no use without them."""
        self.room = room
        self._kv = kv
        self.copied_class, self.read_class = costs.copied(), costs.read()
        """What restoring a page takes, from the host and from disk."""
        self._mover = mover
        self._write_back = write_back
        self._adapters: dict[AdapterState, None] = {}
        self._pinned: dict[AdapterState, None] = {}
        self._of_digest: dict[str, AdapterState] = {}
        self._gone: list[str] = []
        self._forgotten: dict[str, set[Ticket]] = {}
        """Digests, and reads under way that may bring them once more."""
        self._ready: dict[AdapterState, Rank] = {}
        self._to_load: LazyHeap[_Wanted] = LazyHeap(self._is_to_load)
        self._to_read: LazyHeap[_Wanted] = LazyHeap(self._is_to_read)
        self._num_wanted = 0

    # Who there is.

    def add(self, path: str, content: AdapterContent | None) -> AdapterState:
        """An adapter in a directory. Equal content is the same one."""
        known = self._of_digest.get(content.digest) if content and content.digest else None
        if known is not None:
            known.paths.append(path)
            return known
        state = AdapterState(cache=self, paths=[path], content=content)
        move(state, Residency.DISK)
        self._adapters[state] = None
        if state.digest is not None:
            self._of_digest[state.digest] = state
        return state

    def remove(self, state: AdapterState, path: str) -> None:
        """One directory less has it. With the last one goes all that is in memory.

        Nobody may wait for it or use it then.
        """
        state.paths.remove(path)
        if not state.paths:
            self._vacate(state)
            del self._adapters[state]
            if state.digest is not None:
                del self._of_digest[state.digest]
                self._gone.append(state.digest)
                self.forget(state.digest)

    def with_digest(self, digest: str) -> AdapterState | None:
        """The adapter of this content."""
        return self._of_digest.get(digest)

    def forget(self, digest: str) -> None:
        """What the executor has of a content is of no use, unless it is known here."""
        works = (each.work for each in self._mover.copies)
        reads = (work for work in works if isinstance(work, Read))
        self._forgotten[digest] = {r.ticket for r in reads if r.digest in (None, digest)}

    def take_gone(self) -> tuple[str, ...]:
        """Digests that nobody has any more, since the last call."""
        gone = tuple(digest for digest in self._gone if digest not in self._of_digest)
        self._gone.clear()
        return gone

    def take_forgotten(self) -> tuple[str, ...]:
        """Digests of which the executor shall keep nothing, since the last call.

        A read that was under way may have brought one that is gone, and it is known again when its
        end is heard: until then nothing is said.
        """
        under_way = {each.work.ticket for each in self._mover.copies}
        due = [digest for digest, reads in self._forgotten.items() if not reads & under_way]
        for digest in due:
            del self._forgotten[digest]
        return tuple(digest for digest in due if digest not in self._of_digest)

    def pages(self, state: AdapterState) -> tuple[PageId, ...]:
        """Where an adapter lies that is on the device."""
        assert state.lease is not None
        return state.lease.pages

    @property
    def num_pinned_pages(self) -> int:
        return sum(state.size for state in self._pinned)

    def largest_beside(self, state: AdapterState) -> int:
        """Pages of the largest one that is known and not pinned, besides this one."""
        others = (s.size for s in self._adapters if s is not state and not s.num_pins)
        return max(others, default=0)

    # Who wants and who uses it.

    @property
    def ready(self) -> Mapping[AdapterState, Rank]:
        """First request that waits for it, of the adapters that are on the device."""
        return self._ready

    def want(self, state: AdapterState, rank: Rank | None) -> None:
        """The first request that waits for the adapter is `rank`; None: nobody waits."""
        state.waited = rank
        state.is_broken = False
        self._want(state)

    def call(self, state: AdapterState, rank: Rank | None) -> None:
        """As `want`, for commands: they come after all requests."""
        state.called = rank
        self._want(state)

    def pin(self, state: AdapterState) -> None:
        """Keep it on the device from when it is there. It has to be wanted to come."""
        state.num_pins += 1
        self._pinned[state] = None
        if state.num_pins == 1 and state.is_on_device:
            self.room.acquire(state)

    def unpin(self, state: AdapterState) -> None:
        state.num_pins -= 1
        if state.num_pins == 0:
            del self._pinned[state]
            if state.is_on_device:
                self.room.release(state)

    def acquire(self, state: AdapterState) -> None:
        """One more user of an adapter that is on the device."""
        self.room.acquire(state)

    def release(self, state: AdapterState) -> None:
        self.room.release(state)

    def first_pages(self, state: AdapterState) -> list[PrefixNode]:
        """Of all KV that was computed with it."""
        return self._kv.first_pages(state.digest) if state.digest is not None else []

    def own(self, state: AdapterState, owner: Owner, *, is_owned: bool) -> None:
        """Will it be wanted when this one is due?"""
        if is_owned:
            state.owners[owner] = None
        else:
            state.owners.pop(owner, None)
        self.room.reconsider(state)
        if state.host is not None:
            self._mover.host.reconsider(state.host)

    # Loads and reads.

    @property
    def has_to_load(self) -> bool:
        """Is any that is wanted on the host, and nothing begun to bring it?"""
        return self._to_load.first() is not None

    def load_wanted(self, num_reserved: int) -> Rank | None:
        """Begin copies of what is wanted; leave `num_reserved` pages to those who run.

        The first request for whose adapter there is no room before others end: whoever comes after
        it must not take more.
        """
        self._read_wanted()
        while (first := self._to_load.first()) is not None:
            rank, _, state = first
            if self._num_ahead(rank) >= MAX_LOADS:
                self._give_up_unwanted()
            if self._num_ahead(rank) >= MAX_LOADS:
                return None
            answer = self.room.answer(state.size, rank, num_reserved)
            if answer is Answer.SOON:
                self.hurry(state.size, rank, num_reserved)
                answer = self.room.answer(state.size, rank, num_reserved)
            if answer is Answer.NO:
                return rank
            if answer is Answer.SOON:
                # A copy may be long in ending. Others do not wait for it where they are no help.
                return rank if self.room.has_beside_copies(state.size, rank) else None
            self._to_load.pop()
            has_room = self.room.make(state.size, rank)
            assert has_room, "the answer was now"
            self._mover.load((state,), self.room)
        return None

    def hurry(self, num_pages: int, rank: Rank, num_reserved: int = 0) -> None:
        """Make room soon: write back what is dirty; if that is not enough, give up copies for
        requests behind `rank`."""
        num_missing = self.room.num_missing(num_pages, rank, num_reserved)
        self._write_back.hurry(self.room, num_missing)
        num_missing = self.room.num_missing(num_pages, rank, num_reserved)
        self._mover.hurry(self.room, num_missing - self.room.num_dirty_pages, rank)

    def read_ahead(self, state: AdapterState, needed_s: float) -> None:
        """Begin to read what nobody waits for yet, where readers have nothing else to do."""
        host = self._mover.host
        if state.is_broken or not state.paths or self._mover.copies.num_in(None):
            return
        if host.free_for(state.size, needed_s).num_pages == state.size:
            self._mover.read(state, state.paths[0], state.digest)

    def end_load(self, ended: UnderWay, event: CopyEnded) -> list[Failure]:
        """A copy to the device has ended that was waited for."""
        [state] = ended.subjects
        assert isinstance(state, AdapterState)
        if not state.is_on_device:
            error = event.error or f"{event.num_pages} of {state.size} pages came"
            return [Failure(state, error, "Unavailable")]
        state.num_lost = 0
        state.loads += 1
        state.came_s = self._mover.copies.now
        if state.num_pins:
            self.room.acquire(state)
        self.call(state, None)  # else it would be kept for a command that has what it wanted
        return []

    def end_read(self, ended: UnderWay, event: ReadEnded) -> tuple[AdapterState, list[Failure]]:
        """A read has ended that was waited for: who has come of it."""
        [state] = ended.subjects
        assert isinstance(state, AdapterState)
        content = event.content
        if content is None:
            broken = event.error or "reading was broken off"
            return state, self._not_read(state, broken, event.kind)
        state.num_lost = 0
        if content.digest is None:
            state.content = content
        else:
            known = self._of_digest.setdefault(content.digest, state)
            if known is not state:
                self._merge(state, known)
                return known, []
            state.content = content
        error = self.too_large(state)
        if error is not None:
            return state, self._not_read(state, error, "AdapterError")
        self.note(state)
        return state, []

    def too_large(self, state: AdapterState) -> str | None:
        """Why it can never come, if it cannot."""
        tiers = (("pool", "--pool-bytes", self.room), ("host", "--host-bytes", self._mover.host))
        for name, option, room in tiers:
            if state.size > room.pool.num_pages:
                return (
                    f"the adapter takes {state.size} pages, the {name} has {room.pool.num_pages}: "
                    f"start with more {option}"
                )
        return None

    def _not_read(self, state: AdapterState, error: str, kind: str) -> list[Failure]:
        """Whoever wants it next looks at it anew, if it has never been read whole: somebody may
        have put another one there."""
        if state.digest is None:
            state.content = None
        state.is_broken = True
        self.note(state)
        return [Failure(state, error, kind)]

    def lose(self, under_way: UnderWay) -> list[Failure]:
        """Its end has not come: begin anew, or give up after some."""
        self._mover.give_up(under_way)
        [state] = under_way.subjects
        assert isinstance(state, AdapterState)
        state.num_lost += 1
        if state.num_lost < MAX_LOST:
            return []
        state.num_lost = 0
        what = "reads" if under_way.line is None else "copies"
        return [Failure(state, f"{MAX_LOST} {what} in a row have not ended", "Unavailable")]

    def note(self, state: AdapterState) -> None:
        """Its residency or who wants it has changed: is it ready, to be loaded or to be read?"""
        self._ready.pop(state, None)
        if state.digest is not None:
            self._kv.set_away(state.digest, state.state is Residency.DISK)
        is_needed_there = state.wanted is not None and not state.is_on_device
        if state.host is not None:
            self._mover.host.want(state.host, state.wanted if is_needed_there else None)
            self._mover.host.reconsider(state.host)
        if state.wanted is None:
            return
        self.room.version += 1
        self._num_wanted += 1
        if state.is_on_device:
            self._ready[state] = state.wanted
        elif state.state is Residency.HOST:
            self._to_load.push((state.wanted, self._num_wanted, state))
        elif state.state is Residency.DISK:
            self._to_read.push((state.wanted, self._num_wanted, state))
        elif state.state is Residency.LOADING:
            self._mover.copies.hurry(self._mover.copies.of(state))

    # Counts.

    def states(self) -> list[AdapterState]:
        return list(self._adapters)

    def references(self) -> dict[AdapterState, int]:
        """Of the adapters in use, without pins."""
        users = {state: _num_users(state) for state in self._adapters}
        return {state: num_users for state, num_users in users.items() if num_users}

    def check(self) -> None:
        """Raise BrokenInvariant where two views of who is wanted or on the way disagree."""
        adapters = self._adapters
        wanted = {s: s.wanted for s in adapters if s.wanted is not None}
        ready = {s: rank for s, rank in wanted.items() if s.is_on_device}
        must_agree("wanted adapters on the device", self._ready, ready)
        to_load = {(r, s) for s, r in wanted.items() if s.state is Residency.HOST}
        must_agree("adapters to load", {(r, s) for r, _, s in self._to_load}, to_load)
        to_read = {(r, s) for s, r in wanted.items() if s.state is Residency.DISK}
        must_agree("adapters to read", {(r, s) for r, _, s in self._to_read}, to_read)
        digests = {s.digest: s for s in adapters if s.digest is not None}
        must_agree("digests", self._of_digest, digests)
        must_agree("pinned adapters", set(self._pinned), {s for s in adapters if s.num_pins})

    # One place for each change.

    def _want(self, state: AdapterState) -> None:
        ranks = [rank for rank in (state.waited, state.called) if rank is not None]
        rank = min(ranks, default=None)
        if state.wanted != rank:
            self.room.want(state, rank)
            self.note(state)

    def _read_wanted(self) -> None:
        copies, host = self._mover.copies, self._mover.host
        while (first := self._to_read.first()) is not None and copies.num_in(None) < MAX_READS:
            rank, _, state = first
            answer = host.answer(state.size, rank)
            if answer is Answer.SOON:
                self._mover.hurry(host, host.num_missing(state.size, rank), rank)
            if answer is not Answer.NOW:
                return
            self._to_read.pop()
            has_room = host.make(state.size, rank)
            assert has_room, "the answer was now"
            self._mover.read(state, state.paths[0], state.digest)

    def _merge(self, state: AdapterState, known: AdapterState) -> None:
        """What has been read is there already."""
        known.paths += state.paths
        self._vacate(state)
        del self._adapters[state]

    def _vacate(self, state: AdapterState) -> None:
        """Take it out of memory."""
        state.waited = state.called = None
        self._want(state)
        if state.state in (Residency.READING, Residency.LOADING):
            self._mover.give_up(self._mover.copies.of(state))
        if state.is_on_device:
            self.room.evict(state)
        if state.host is not None:
            self._mover.host.evict(state.host)

    def _num_ahead(self, rank: Rank) -> int:
        """Adapters that are on their way, and requests before `rank` for which some are kept."""
        coming = self._mover.copies.num_in(Direction.TO_DEVICE)
        return coming + self.room.num_requests_kept_for(rank)

    def _give_up_unwanted(self) -> None:
        """A copy that nobody waits for any more goes on as long as it is in nobody's way."""
        for state in [state for state in self.room.expected if state.wanted is None]:
            if state in self.room.expected:
                assert isinstance(state, StateObject)
                copy = self._mover.copies.of(state)
                if not copy.is_ahead:
                    self._mover.give_up(copy)

    def _is_to_load(self, entry: "_Wanted") -> bool:
        """Is it still wanted by this request, and on the host?"""
        rank, _, state = entry
        return state.wanted == rank and state.state is Residency.HOST

    def _is_to_read(self, entry: "_Wanted") -> bool:
        """Is it still wanted by this request, and neither in memory nor being read?"""
        rank, _, state = entry
        return state.wanted == rank and state.state is Residency.DISK


_Wanted = tuple[Rank, int, AdapterState]
"""The number is no one else's: a request may have waited for another adapter before, which has
turned out to be this one."""


def _num_users(state: AdapterState) -> int:
    is_pinned = state.num_pins > 0 and state.is_on_device
    return state.references - is_pinned
