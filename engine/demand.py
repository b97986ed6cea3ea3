"""Will the running set still fit when it is at its largest?

Past-Future scheduling (Gong et al., ASPLOS 2025, arXiv 2507.10150): sequences end at different
times, so the peak lies at one of the ends. Sorted by remaining length, it is a maximum over prefix
sums.
"""

from collections.abc import Iterable

from msgspec import Struct

from motet.engine.sequence import Sequence


class Demand(Struct, frozen=True, gc=False):  # one for every row of a step in which someone waits
    """KV pages one sequence will ask for, without those it borrows from others."""

    pages: int
    """Own pages once its current tokens are computed."""
    slack: int
    """Tokens that still fit in the last of them."""
    remaining: int
    """Tokens it is expected to add."""


def demand_of(
    sequence: Sequence, num_borrowed: int, expected_tokens: int, page_tokens: int
) -> Demand:
    """Of a sequence whose outputs are expected to have so many tokens in all."""
    num_tokens, num_generated = len(sequence.tokens), sequence.num_generated
    num_pages = -(-num_tokens // page_tokens)
    limit = sequence.request.sampling.max_tokens - num_generated
    return Demand(
        pages=num_pages - num_borrowed,
        slack=num_pages * page_tokens - num_tokens,
        remaining=min(max(expected_tokens - num_generated, page_tokens), limit),
    )


class Demands:
    """Those of the running set, to which a request may be added."""

    def __init__(self, demands: Iterable[Demand], page_tokens: int) -> None:
        self._page_tokens = page_tokens
        self._demands: list[Demand] = []
        self._pages = self._remaining = 0  # sums
        for demand in demands:
            self.add(demand)

    def add(self, demand: Demand) -> None:
        self._demands.append(demand)
        self._pages += demand.pages
        self._remaining += demand.remaining

    @property
    def peak(self) -> int:
        """Most pages that these will own together at any time."""
        return peak_pages(self._demands, self._page_tokens)

    def fit_with(self, demand: Demand, num_pages: int) -> bool:
        """Will so many pages do for these and one more, even at their peak?"""
        if self._bound_with(demand) <= num_pages:
            return True
        return peak_pages([*self._demands, demand], self._page_tokens) <= num_pages

    def _bound_with(self, demand: Demand) -> int:
        """No less than their peak, at no cost: as if each kept its pages until the last one ends.

        Thus a burst of requests that fit easily is admitted without counting all for each.
        """
        pages, remaining = self._pages + demand.pages, self._remaining + demand.remaining
        growth = remaining + _left_empty(len(self._demands), self._page_tokens)
        return pages + -(-growth // self._page_tokens)


def peak_pages(demands: Iterable[Demand], page_tokens: int) -> int:
    """Most pages that sequences with these demands will own together at any time.

    An expectation: growth is counted in tokens, and every sequence but one is taken to leave half
    of its last page empty. Exact for one sequence.
    """
    peak = pages = slack = 0
    longest_first = sorted(demands, key=lambda demand: -demand.remaining)
    for alive, demand in enumerate(longest_first, start=1):
        pages += demand.pages
        slack += demand.slack
        growth = alive * demand.remaining - slack + _left_empty(alive - 1, page_tokens)
        peak = max(peak, pages + max(0, -(-growth // page_tokens)))
    return peak


def _left_empty(num_sequences: int, page_tokens: int) -> int:
    """Tokens for which there is room in the last pages of so many."""
    return num_sequences * (page_tokens - 1) // 2
