"""How long an output will be, learned from those that finished."""

from bisect import bisect_left, insort
from collections import deque
from math import ceil

QUANTILE = 0.9
WINDOW = 512
"""Outputs remembered per adapter: enough for a stable quantile, few enough to follow a change."""
ENOUGH = 32
"""Outputs of its own from which an adapter is judged by itself."""
PRIOR_TOKENS = 256
"""Assumed at least, until enough outputs have finished."""


class LengthEstimator:
    """Expected output length per adapter: the 0.9 quantile of what finished lately."""

    def __init__(self) -> None:
        self._all = _Window()
        self._by_adapter: dict[str | None, _Window] = {}

    def finished(self, adapter_digest: str | None, num_tokens: int) -> None:
        self._all.add(num_tokens)
        self._by_adapter.setdefault(adapter_digest, _Window()).add(num_tokens)

    def forget(self, adapter_digest: str) -> None:
        """Nobody will ask for it again."""
        self._by_adapter.pop(adapter_digest, None)

    def expected(self, adapter_digest: str | None) -> int:
        """Tokens that 9 of 10 outputs of this adapter do not exceed."""
        own = self._by_adapter.get(adapter_digest)
        if own is not None and len(own) >= ENOUGH:
            return own.quantile()
        if len(self._all) >= ENOUGH:
            return self._all.quantile()
        # Whoever finishes first is short: it cannot speak for the others yet.
        return max(PRIOR_TOKENS, self._all.quantile())


class _Window:
    """The last WINDOW values, in order of age and of size."""

    def __init__(self) -> None:
        self._by_age: deque[int] = deque()
        self._by_size: list[int] = []

    def __len__(self) -> int:
        return len(self._by_age)

    def add(self, value: int) -> None:
        if len(self._by_age) == WINDOW:
            del self._by_size[bisect_left(self._by_size, self._by_age.popleft())]
        self._by_age.append(value)
        insort(self._by_size, value)

    def quantile(self) -> int:
        """The smallest value that a share of QUANTILE does not exceed; 0 when empty."""
        return self._by_size[ceil(QUANTILE * len(self._by_size)) - 1] if self._by_size else 0
