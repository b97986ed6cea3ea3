"""Pages for whoever needs them, from what is free and from what may be evicted."""

import enum
from bisect import bisect_left, insort
from collections.abc import Iterator
from operator import itemgetter

from motet.errors import BrokenInvariant
from motet.memory.agreement import must_agree
from motet.memory.eviction import EvictionPolicy
from motet.memory.page import Lease, PageOwner, PagePool
from motet.memory.residency import Rank, StateObject

_rank_of = itemgetter(0)


class Answer(enum.StrEnum):
    """Is there room?"""

    NOW = "now"
    SOON = "soon"
    """When a step or copies have ended that are under way, if need be before their time."""
    NO = "no"
    """Not before something that runs gives up pages."""


class Room:
    """The pages of one tier and the idle objects in them, of every kind.

    Room is made for somebody: nothing is evicted that a request before that one waits for. What is
    wanted goes only when nothing else is left, and from the last who want it first.
    """

    def __init__(self, num_pages: int, order: EvictionPolicy) -> None:
        self.pool = PagePool(num_pages)
        self.evicted_pages = {PageOwner.KV: 0, PageOwner.ADAPTER: 0}
        """By owner; only grows."""
        self.version = 0
        """Grows whenever an answer may have become better."""
        self.expected: dict[StateObject, None] = {}
        """Objects whose pages are leased and being filled."""
        self._order = order
        self._wanted: list[tuple[Rank, StateObject]] = []  # idle, but somebody waits; in order
        self._idle_pages = {PageOwner.KV: 0, PageOwner.ADAPTER: 0}

    # What there is.

    @property
    def num_idle_pages(self) -> int:
        """Pages that an eviction would free."""
        return self._idle_pages[PageOwner.KV] + self._idle_pages[PageOwner.ADAPTER]

    def idle_pages(self, owner: PageOwner) -> int:
        """Those of them that hold KV, or adapters."""
        return self._idle_pages[owner]

    @property
    def num_busy_pages(self) -> int:
        """Pages that no eviction can free now; shared ones count once."""
        return self.pool.num_pages - self.pool.num_free - self.num_idle_pages

    def num_kept(self, rank: Rank) -> int:
        """Idle objects that are kept for requests before `rank`."""
        return bisect_left(self._wanted, rank, key=_rank_of)

    def num_kept_pages(self, rank: Rank) -> int:
        """Their pages."""
        return sum(state.num_pages for _, state in self._wanted[: self.num_kept(rank)])

    def answer(self, num_pages: int, rank: Rank, num_reserved: int = 0) -> Answer:
        """Can `rank` have so many pages, and leave `num_reserved` to others?"""
        num_missing = self.num_missing(num_pages, rank, num_reserved)
        if num_missing <= 0:
            return Answer.NOW
        num_coming = self.pool.count(PageOwner.QUARANTINED)
        num_coming += sum(state.num_pages for state in self.expected_behind(rank))
        return Answer.SOON if num_missing <= num_coming else Answer.NO

    def num_missing(self, num_pages: int, rank: Rank, num_reserved: int = 0) -> int:
        """Pages by which what is free and what `rank` may evict fall short."""
        num_available = self.pool.num_free + self.num_idle_pages - self.num_kept_pages(rank)
        return num_pages + num_reserved - num_available

    def has_beside_copies(self, num_pages: int, rank: Rank) -> bool:
        """Will `rank` have so many pages once all who run have ended, whatever copies do?"""
        num_copied = self.pool.count(PageOwner.TRANSFER) + self.pool.count(PageOwner.QUARANTINED)
        return num_pages + num_copied + self.num_kept_pages(rank) <= self.pool.num_pages

    def expected_behind(self, rank: Rank) -> list[StateObject]:
        """Objects on the way that `rank` may do without, the first to give up first."""
        behind = [s for s in self.expected if s.wanted is None or s.wanted > rank]
        return sorted(behind, key=lambda state: (state.wanted is None, state.wanted), reverse=True)

    def idle(self) -> Iterator[StateObject]:
        """Every object that may be evicted, first victim first."""
        yield from self._order
        yield from (state for _, state in reversed(self._wanted))

    # Taking and giving.

    def make(self, num_pages: int, rank: Rank) -> bool:
        """See to it that so many pages are free for `rank`. False, and nothing changed, if not."""
        if num_pages > self.pool.num_free and self.answer(num_pages, rank) is not Answer.NOW:
            return False
        while self.pool.num_free < num_pages:
            self.evict(self._victim())
        return True

    def give_back(self, lease: Lease) -> None:
        """The pages are free."""
        self.pool.release(lease)
        self.version += 1

    def enter(self, state: StateObject) -> None:
        """The object has come to the device, and nobody uses it yet."""
        self._become_idle(state)

    def acquire(self, state: StateObject) -> None:
        """One more user of an object on the device."""
        if state.is_idle:
            self._leave_idle(state)
        state.references += 1

    def release(self, state: StateObject) -> None:
        """One user less. Raises BrokenInvariant if there is none."""
        if state.references == 0:
            raise BrokenInvariant(f"{state} is released more often than acquired")
        state.references -= 1
        if state.references == 0:
            self._become_idle(state)

    def want(self, state: StateObject, rank: Rank | None) -> None:
        """The first request that waits for the object is `rank`; None: nobody does."""
        if state.is_idle:
            self._leave_idle(state)
            state.wanted = rank
            self._become_idle(state)
        else:
            state.wanted = rank

    def evict(self, state: StateObject) -> None:
        """Free the pages of an idle object, and of what is worth nothing without it."""
        for gone in state.leave_device():
            assert gone.references == 0 and gone.lease is not None
            self.evicted_pages[gone.lease.owner] += gone.num_pages
            self._leave_idle(gone)
            self.give_back(gone.lease)
            gone.lease = None

    def check(self, states: list[StateObject]) -> None:
        """Compare with all objects there are; raise BrokenInvariant where counts disagree."""
        self.pool.check()
        idle = {state for state in states if state.is_idle}
        must_agree("idle objects", set(self.idle()), idle)
        must_agree("idle pages", self.num_idle_pages, sum(state.num_pages for state in idle))
        wanted = [(state.wanted, state) for state in idle if state.wanted is not None]
        must_agree("wanted objects", self._wanted, sorted(wanted, key=_rank_of))
        for state in states:
            if not state.is_idle and state.is_on_device:
                must_agree(f"{state} is used", state.references > 0, True)

    def _victim(self) -> StateObject:
        victim = self._order.victim()
        return victim or self._wanted[-1][1]

    def _become_idle(self, state: StateObject) -> None:
        if state.wanted is None:
            self._order.add(state)
        else:
            insort(self._wanted, (state.wanted, state), key=_rank_of)
        self._count_idle(state, +1)
        self.version += 1

    def _leave_idle(self, state: StateObject) -> None:
        if state.wanted is None:
            self._order.discard(state)
        else:
            del self._wanted[bisect_left(self._wanted, state.wanted, key=_rank_of)]
        self._count_idle(state, -1)

    def _count_idle(self, state: StateObject, sign: int) -> None:
        assert state.lease is not None
        self._idle_pages[state.lease.owner] += sign * state.num_pages
