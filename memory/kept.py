"""Idle objects that are kept for those who wait for them."""

from bisect import bisect_left, insort
from collections.abc import Iterator

from motet.memory.agreement import must_agree
from motet.memory.residency import Rank, Resident


class Kept:
    """In the order of who wants them. A request may want many: its adapter, pages of its KV."""

    def __init__(self) -> None:
        self._ranks: list[Rank] = []
        self._of_rank: dict[Rank, dict[Resident, None]] = {}
        self._num_pages: dict[Rank, int] = {}

    def add(self, resident: Resident) -> None:
        rank = resident.wanted
        assert rank is not None
        if rank not in self._of_rank:
            insort(self._ranks, rank)
            self._of_rank[rank], self._num_pages[rank] = {}, 0
        self._of_rank[rank][resident] = None
        self._num_pages[rank] += resident.num_pages

    def discard(self, resident: Resident) -> None:
        """It is wanted as it was when it was added."""
        rank = resident.wanted
        assert rank is not None
        del self._of_rank[rank][resident]
        self._num_pages[rank] -= resident.num_pages
        if not self._of_rank[rank]:
            del self._ranks[bisect_left(self._ranks, rank)]
            del self._of_rank[rank], self._num_pages[rank]

    def num_requests(self, rank: Rank) -> int:
        """Requests before `rank` for which something is kept."""
        return bisect_left(self._ranks, rank)

    def num_pages(self, rank: Rank) -> int:
        """Pages that are kept for them."""
        return sum(self._num_pages[kept] for kept in self._ranks[: self.num_requests(rank)])

    def num_pages_of(self, rank: Rank) -> int:
        """Pages that are kept for one of them."""
        return self._num_pages.get(rank, 0)

    def last(self) -> Resident:
        """What goes first when all must go: of the last request, what it wanted last."""
        return next(iter(self))

    def __iter__(self) -> Iterator[Resident]:
        """The last one first."""
        for rank in reversed(self._ranks):
            yield from reversed(self._of_rank[rank])

    def check(self) -> None:
        """Raise BrokenInvariant where counts disagree."""
        must_agree("ranks", self._ranks, sorted(self._of_rank))
        for rank, kept in self._of_rank.items():
            must_agree("who wants it", {resident.wanted for resident in kept}, {rank})
            num_pages = sum(resident.num_pages for resident in kept)
            must_agree("pages that are kept", self._num_pages[rank], num_pages)
