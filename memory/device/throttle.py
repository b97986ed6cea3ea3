"""A link as slow as somebody wants it, to study memory without the device that has such a link."""

import time
from collections.abc import Callable

BYTES_PER_GIGABIT = 125_000_000

SLACK_S = 0.002
"""Of lateness that a link makes up for: else every oversleeping would add up."""

NAP_S = 0.01
"""Most that a pause goes on when nobody wants the bytes any more."""


class Throttle:
    """Makes bytes take the time that a link of `gbps` takes, one after the other."""

    def __init__(
        self,
        gbps: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bytes_per_s = gbps * BYTES_PER_GIGABIT
        self._clock = clock
        self._sleep = sleep
        self._free_s = float("-inf")
        """When all bytes have passed."""

    def pass_on(self, num_bytes: int, is_wanted: Callable[[], bool]) -> None:
        """Returns when the bytes would have come, or soon after nobody wants them."""
        begun_s = max(self._free_s, self._clock() - SLACK_S)
        self._free_s = begun_s + num_bytes / self._bytes_per_s
        while is_wanted() and (left_s := self._free_s - self._clock()) > 0:
            self._sleep(min(left_s, NAP_S))
