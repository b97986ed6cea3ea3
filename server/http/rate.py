"""How much one client may tell in a second."""

import math
import time
from collections.abc import Callable

from motet.errors import RateLimited
from motet.server.http.config import ServerConfig


class Bucket:
    """Fills with `per_s` a second, up to what a second brings. One take may leave it in debt."""

    def __init__(self, per_s: int, now_s: float) -> None:
        self._per_s = per_s
        self._level = float(per_s)
        self._seen_s = now_s

    def take(self, amount: int, now_s: float) -> float:
        """0 if it was taken; else in how many seconds something can be taken again."""
        grown = self._level + (now_s - self._seen_s) * self._per_s
        self._level, self._seen_s = min(grown, self._per_s), now_s
        if self._level <= 0:
            return (1 - self._level) / self._per_s
        self._level -= amount
        return 0.0


class HintRates:
    """What each tenant may tell of its agents. There are as many tenants as keys."""

    def __init__(self, config: ServerConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = {
            "pushes": config.max_pushes_per_second,
            "agents in hints": config.max_hints_per_second,
        }
        self._clock = clock
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def admit_push(self, tenant: str) -> None:
        """Raises RateLimited."""
        self._take(tenant, "pushes", 1)

    def admit_hints(self, tenant: str, num_agents: int = 1) -> None:
        """Raises RateLimited."""
        self._take(tenant, "agents in hints", num_agents)

    def _take(self, tenant: str, what: str, amount: int) -> None:
        now_s, per_s = self._clock(), self._limits[what]
        bucket = self._buckets.setdefault((tenant, what), Bucket(per_s, now_s))
        wait_s = bucket.take(amount, now_s)
        if wait_s:
            raise RateLimited(
                f"more than {per_s} {what} a second: send fewer, or /v1/agents/tick in place of "
                "pushes that only count down",
                retry_after_s=math.ceil(wait_s),
            )
