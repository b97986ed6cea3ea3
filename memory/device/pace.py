"""What threads that read may take of the cores that others compute on."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Between = Callable[[], object]
"""Called between small pieces of a long work: it may pause there, or raise to end it."""

SHARE = 0.1
"""Of a core, for all reads together, while something computes on all cores there are."""

PIECE_S = 0.001
"""Of work before a rest."""

MAX_RESTS_S = 5.0
"""Of one work: it ends in time however large it is."""

NAP_S = 0.005
"""Of a rest before a look at whether anything still computes."""


def go_on() -> None:
    """Between pieces of work that nothing waits for."""


class Pace:
    """Lets threads take a share of a core while something computes, and all they like meanwhile.

    A scheduler of threads would share evenly: a step beside a read would be half as long again.
    """

    def __init__(
        self,
        share: float = SHARE,
        worked: Callable[[], float] = time.thread_time,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`worked` is how long the thread that asks has been on a core. A share of 1 limits
        nothing."""
        self._share = share
        self._worked = worked
        self._clock = clock
        self._sleep = sleep
        self._is_computing = False
        self._free_s = float("-inf")
        """When what has been taken would be given back."""
        self._lock = threading.Lock()  # for it
        self._thread = threading.local()

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Whoever reads holds back. One at a time."""
        self._is_computing = True
        try:
            yield
        finally:
            self._is_computing = False

    def begin(self) -> None:
        """The thread begins another work."""
        self._thread.counted_s = self._worked()
        self._thread.rests_s = 0.0

    def rest(self) -> None:
        """Return when the thread may go on with what it has begun, or soon after nothing computes
        any more."""
        if self._share >= 1:
            return
        worked_s = self._worked()
        taken_s = worked_s - self._thread.counted_s
        if taken_s < PIECE_S:
            return
        self._thread.counted_s = worked_s
        if not self._is_computing:
            return
        with self._lock:
            self._free_s = max(self._free_s, self._clock()) + taken_s / self._share
            until_s = self._free_s
        while self._is_computing and (left_s := until_s - self._clock()) > 0:
            if self._thread.rests_s >= MAX_RESTS_S:
                self._free_s = self._clock()  # nobody else gives back what is left
                return
            nap_s = min(left_s, NAP_S)
            self._thread.rests_s += nap_s
            self._sleep(nap_s)
