"""Will the running set still fit when it is at its largest?

Past-Future scheduling (Gong et al., ASPLOS 2025, arXiv 2507.10150): sequences end at different
times, so the peak lies at one of the ends. Sorted by remaining length, it is a maximum over prefix
sums.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Demand:
    """KV pages one sequence will ask for, without those it borrows from others."""

    pages: int
    """Own pages once its current tokens are computed."""
    slack: int
    """Tokens that still fit in the last of them."""
    remaining: int
    """Tokens it is expected to add."""


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
        growth = alive * demand.remaining - slack + (alive - 1) * (page_tokens - 1) // 2
        peak = max(peak, pages + max(0, -(-growth // page_tokens)))
    return peak
