"""Pages for whoever needs them, from what is free and from what may be evicted."""

import enum
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from motet.errors import BrokenInvariant
from motet.memory.agreement import must_agree
from motet.memory.eviction import EvictionPolicy
from motet.memory.kept import Kept
from motet.memory.owner import Owner
from motet.memory.page import Lease, PageOwner, PagePool
from motet.memory.residency import Rank, Resident
from motet.memory.standing import Standing, spared_s, standing_of


class Answer(enum.StrEnum):
    """Is there room?"""

    NOW = "now"
    SOON = "soon"
    """When a step or copies have ended that are under way, if need be before their time, or when
    what is dirty has been written back."""
    NO = "no"
    """Not before something that runs gives up pages."""


@dataclass(frozen=True, slots=True)
class Freed:
    """What has come of it."""

    num_pages: int
    """Free now, of those that were wanted."""
    robbed: tuple[Owner, ...]
    """Of whom something has gone."""


class Room:
    """The pages of one tier and the idle objects in them, of every kind.

    Room is made for somebody: nothing is evicted that a request before that one waits for. What is
    wanted goes only when nothing else is left, and from the last who want it first. What is dirty
    does not go as long as somebody may still write it back.
    """

    def __init__(self, pool: PagePool, order: EvictionPolicy) -> None:
        self.pool = pool
        self.evictions = {
            (owner, standing): 0
            for owner in (PageOwner.KV, PageOwner.ADAPTER)
            for standing in Standing
        }
        """Pages, by whose they were and what was known of their next use; only grow."""
        self.version = 0
        """Grows whenever an answer may have become better."""
        self.expected: dict[Resident, None] = {}
        """Objects whose pages are leased and being filled."""
        self._order = order
        self._dirty: OrderedDict[Resident, None] = OrderedDict()  # idle, the eldest first
        self._num_dirty_pages = 0
        self._kept = Kept()
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
    def num_dirty_pages(self) -> int:
        """Those of them that have to be written back first."""
        return self._num_dirty_pages

    @property
    def num_clean_pages(self) -> int:
        """Those of them that can be freed at once."""
        return self.num_idle_pages - self._num_dirty_pages

    @property
    def num_busy_pages(self) -> int:
        """Pages that no eviction can free now; shared ones count once."""
        return self.pool.num_pages - self.pool.num_free - self.num_idle_pages

    def num_evicted(self, owner: PageOwner) -> int:
        """Pages; only grows."""
        return sum(self.evictions[owner, standing] for standing in Standing)

    def num_requests_kept_for(self, rank: Rank) -> int:
        """Requests before `rank` for which idle objects are kept."""
        return self._kept.num_requests(rank)

    def num_kept_pages(self, rank: Rank) -> int:
        """Pages of these objects."""
        return self._kept.num_pages(rank)

    def answer(self, num_pages: int, rank: Rank, num_reserved: int = 0) -> Answer:
        """Can `rank` have so many pages, and leave `num_reserved` to others?"""
        num_missing = self.num_missing(num_pages, rank, num_reserved)
        if num_missing <= 0:
            return Answer.NOW
        num_coming = self.pool.count(PageOwner.QUARANTINED) + self._num_dirty_pages
        num_coming += sum(state.num_pages for state in self.expected_behind(rank))
        return Answer.SOON if num_missing <= num_coming else Answer.NO

    def num_missing(self, num_pages: int, rank: Rank, num_reserved: int = 0) -> int:
        """Pages by which what is free and what `rank` may evict fall short."""
        num_available = self.pool.num_free + self.num_clean_pages
        num_available -= self._num_kept_from(rank)
        return num_pages + num_reserved - num_available

    def has_beside_copies(self, num_pages: int, rank: Rank) -> bool:
        """Will `rank` have so many pages once all who run have ended, whatever copies do?"""
        num_copied = self.pool.count(PageOwner.TRANSFER) + self.pool.count(PageOwner.QUARANTINED)
        return num_pages + num_copied + self._num_kept_from(rank) <= self.pool.num_pages

    def expected_behind(self, rank: Rank) -> list[Resident]:
        """Objects on the way that `rank` may do without, the first to give up first."""
        behind = [s for s in self.expected if s.wanted is None or s.wanted > rank]
        return sorted(behind, key=lambda state: (state.wanted is None, state.wanted), reverse=True)

    def idle(self) -> Iterator[Resident]:
        """Every idle object: first those that may be evicted, first victim first."""
        yield from self._order
        yield from self._kept
        yield from self._dirty

    def dirty(self) -> Iterable[Resident]:
        """Idle objects that are kept until they have been written back, the eldest first."""
        return self._dirty

    # Taking and giving.

    def make(self, num_pages: int, rank: Rank) -> bool:
        """See to it that so many pages are free for `rank`. False, and nothing changed, if not."""
        if num_pages > self.pool.num_free and self.answer(num_pages, rank) is not Answer.NOW:
            return False
        while self.pool.num_free < num_pages:
            self.evict(self._victim())
        return True

    def free_for(self, num_pages: int, needed_s: float, num_reserved: int = 0) -> "Freed":
        """Make room for what is needed in `needed_s`: nothing goes for it that nobody can do
        without for longer. Leaves `num_reserved` pages to others."""
        robbed: dict[Owner, None] = {}
        while self.pool.num_free < num_pages + num_reserved:
            victim = self._order.victim()
            if victim is None or spared_s(victim) <= needed_s:
                break
            owner = victim.nearest_owner()
            if owner is not None:
                robbed[owner] = None
            self.evict(victim)
        return Freed(max(0, min(num_pages, self.pool.num_free - num_reserved)), tuple(robbed))

    def give_back(self, lease: Lease) -> None:
        """The pages are free."""
        self.pool.release(lease)
        self.version += 1

    def enter(self, state: Resident) -> None:
        """The object is complete, and nobody uses it yet."""
        self._become_idle(state)

    def reconsider(self, state: Resident) -> None:
        """What decides whether it goes, and when, has changed."""
        if state.is_idle:
            self._leave_idle(state)
            self._become_idle(state)

    def acquire(self, state: Resident) -> None:
        """One more user of a complete object."""
        if state.is_idle:
            self._leave_idle(state)
        state.references += 1

    def release(self, state: Resident) -> None:
        """One user less. Raises BrokenInvariant if there is none."""
        if state.references == 0:
            raise BrokenInvariant(f"{state} is released more often than acquired")
        state.references -= 1
        if state.references == 0:
            self._become_idle(state)

    def want(self, state: Resident, rank: Rank | None) -> None:
        """The first request that waits for the object is `rank`; None: nobody does."""
        if state.is_idle:
            self._leave_idle(state)
            state.wanted = rank
            self._become_idle(state)
        else:
            state.wanted = rank

    def evict(self, state: Resident) -> None:
        """Free the pages of an idle object, and of what is worth nothing without it."""
        standing = standing_of(state)
        for gone in state.leave():
            assert gone.references == 0 and gone.lease is not None
            self.evictions[gone.lease.owner, standing] += gone.num_pages
            self._leave_idle(gone)
            self.give_back(gone.lease)
            gone.lease = None

    def check(self, states: Sequence[Resident]) -> None:
        """Compare with all objects there are; raise BrokenInvariant where counts disagree."""
        self.pool.check()
        self._order.check()
        idle = {state for state in states if state.is_idle}
        must_agree("idle objects", set(self.idle()), idle)
        must_agree("idle pages", self.num_idle_pages, sum(state.num_pages for state in idle))
        self._kept.check()
        must_agree("kept objects", set(self._kept), {s for s in idle if s.wanted is not None})
        dirty = {state for state in idle if state.wanted is None and not state.is_clean}
        must_agree("dirty objects", set(self._dirty), dirty)
        num_dirty = sum(state.num_pages for state in dirty)
        must_agree("dirty pages", self._num_dirty_pages, num_dirty)

    def _num_kept_from(self, rank: Rank) -> int:
        """Pages that `rank` cannot have: kept for those before it, and for itself."""
        return self._kept.num_pages(rank) + self._kept.num_pages_of(rank)

    def _victim(self) -> Resident:
        return self._order.victim() or self._kept.last()

    def _become_idle(self, state: Resident) -> None:
        if state.wanted is not None:
            self._kept.add(state)
        elif state.is_clean:
            self._order.add(state)
        else:
            self._dirty[state] = None
            self._num_dirty_pages += state.num_pages
        self._count_idle(state, +1)
        self.version += 1

    def _leave_idle(self, state: Resident) -> None:
        if state.wanted is not None:
            self._kept.discard(state)
        elif state in self._dirty:
            del self._dirty[state]
            self._num_dirty_pages -= state.num_pages
        else:
            self._order.discard(state)
        self._count_idle(state, -1)

    def _count_idle(self, state: Resident, sign: int) -> None:
        lease = state.lease
        assert lease is not None
        self._idle_pages[lease.owner] += sign * len(lease.pages)
