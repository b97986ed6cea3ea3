"""The pool hands out every page once and counts right."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from motet.errors import PageError
from motet.memory.page import Lease, PageOwner, PagePool

OWNERS = st.sampled_from(list(PageOwner))


def test_a_second_release_raises() -> None:
    pool = PagePool(4)
    lease = pool.reserve(2, PageOwner.KV)
    assert lease is not None
    pool.release(lease)
    with pytest.raises(PageError, match="released already"):
        pool.release(lease)


def test_a_lease_of_another_pool_raises() -> None:
    lease = PagePool(4).reserve(1, PageOwner.KV)
    assert lease is not None
    with pytest.raises(PageError, match="not leased from this pool"):
        PagePool(4).release(lease)


def test_pages_are_numbered_from_the_first_on() -> None:
    lease = PagePool(3, first=10).reserve(3, PageOwner.KV)
    assert lease is not None and lease.pages == (10, 11, 12)


def test_too_few_pages_is_an_answer_and_changes_nothing() -> None:
    pool = PagePool(4)
    assert pool.reserve(5, PageOwner.KV) is None
    assert pool.num_free == 4


def test_check_sees_a_page_freed_behind_the_pools_back() -> None:
    pool = PagePool(4)
    lease = pool.reserve(1, PageOwner.KV)
    assert lease is not None
    pool._free.append(lease.pages[0])
    with pytest.raises(PageError):
        pool.check()


class PoolMachine(RuleBasedStateMachine):
    """Any order of reserve, relabel and release keeps every page accounted for."""

    leases: Bundle[Lease] = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.pool = PagePool(16)
        self.live: set[Lease] = set()

    @rule(target=leases, num_pages=st.integers(0, 6), owner=OWNERS)
    def reserve(self, num_pages: int, owner: PageOwner) -> Lease:
        num_free = self.pool.num_free
        lease = self.pool.reserve(num_pages, owner)
        assert (lease is None) == (num_pages > num_free)
        if lease is None:
            lease = self.pool.reserve(0, owner)
            assert lease is not None
        assert not {page for other in self.live for page in other.pages} & set(lease.pages)
        self.live.add(lease)
        return lease

    @rule(lease=leases, owner=OWNERS)
    def relabel(self, lease: Lease, owner: PageOwner) -> None:
        if lease in self.live:
            self.pool.relabel(lease, owner)

    @rule(lease=consumes(leases))
    def release(self, lease: Lease) -> None:
        self.pool.release(lease)
        self.live.discard(lease)
        with pytest.raises(PageError):
            self.pool.release(lease)

    @invariant()
    def every_page_is_accounted_for(self) -> None:
        self.pool.check()
        num_live = sum(len(lease.pages) for lease in self.live)
        assert self.pool.num_free + num_live == self.pool.num_pages


TestPoolMachine = PoolMachine.TestCase
