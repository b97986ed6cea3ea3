"""Between two calls of an agent a tool works: for how long to keep its state meanwhile.

Continuum (arXiv 2511.02230): keeping it for τ saves, if the agent is back by then, what restoring
takes and the queue that whoever has lost its room waits in again; it costs τ times the room, which
others could use. τ* is where that is most, tried at the durations that were seen.

InferCept (arXiv 2402.01869): where nothing is known of the tool, it takes as long again as it has
taken so far; keeping is right while that wastes less than restoring would.
"""

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from random import Random

ENOUGH = 100
"""Durations from which a tool is judged by itself, and all of them together."""

WINDOW = 512
"""Durations remembered of each."""

MAX_TOOLS = 1024
"""Of one tenant; who was used longest ago is forgotten."""

COLD_RATE = 1.0
"""Per second, of the exponential law that retention times follow until enough is known."""

SMOOTHING = 0.05


@dataclass(slots=True)
class Durations:
    """The last ones, in order of age and of size. Seconds."""

    by_age: deque[float] = field(default_factory=deque)
    by_size: list[float] = field(default_factory=list)

    def add(self, seconds: float) -> None:
        if len(self.by_age) == WINDOW:
            del self.by_size[bisect_left(self.by_size, self.by_age.popleft())]
        self.by_age.append(seconds)
        insort(self.by_size, seconds)

    def left_s(self, elapsed_s: float) -> float | None:
        """Median of what is left once so much has passed; as long again where none has taken so
        long. None: nothing is known."""
        first, num = bisect_right(self.by_size, elapsed_s), len(self.by_size)
        if first < num:
            return self.by_size[(first + num) // 2] - elapsed_s
        return elapsed_s or None

    def best_retention_s(self, saved_s: float) -> float:
        """τ*: where the chance to be back by τ, times what that saves, exceeds τ by most.

        0 where it never does."""
        best_s, most = 0.0, 0.0
        num = len(self.by_size)
        for rank, tau in enumerate(self.by_size, start=1):
            gain = rank / num * saved_s - tau
            if gain > most:
                best_s, most = tau, gain
        return best_s


class Pauses:
    """What one tenant's tools take, and its programs."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._all = Durations()
        self._tools: OrderedDict[str, Durations] = OrderedDict()
        self._queueing_s = 0.0
        """Moving average of how long those wait who come back and have lost their room."""
        self._programs = Programs()

    def ended(self, tool: str, seconds: float) -> None:
        """It has answered after so long."""
        durations = self._tools.pop(tool, None) or Durations()
        self._tools[tool] = durations
        if len(self._tools) > MAX_TOOLS:
            self._tools.popitem(last=False)
        durations.add(seconds)
        self._all.add(seconds)

    def waited(self, seconds: float) -> None:
        """Somebody came back and waited so long for room and state."""
        self._queueing_s += SMOOTHING * (seconds - self._queueing_s)

    def program_ended(self, num_calls: int) -> None:
        self._programs.add(num_calls)

    def left_s(self, tool: str, elapsed_s: float) -> float | None:
        """Until it answers, as far as is known."""
        durations = self._durations(tool)
        return durations.left_s(elapsed_s) if durations else elapsed_s or None

    def retention_s(self, tool: str, restore_s: float) -> float:
        """For how long to keep the state of who waits for it."""
        durations = self._durations(tool)
        if durations is None:
            return self._rng.expovariate(COLD_RATE)
        saved_s = restore_s + self._queueing_s * self._programs.eta
        return durations.best_retention_s(saved_s)

    def _durations(self, tool: str) -> Durations | None:
        own = self._tools.get(tool)
        if own is not None and len(own.by_age) >= ENOUGH:
            return own
        return self._all if len(self._all.by_age) >= ENOUGH else None


class Programs:
    """How the calls that a program has made tell of those it will make.

    ```
    eta = -correlation(calls made, calls left) over all calls of the last programs
    ```
    1 where all have the same number of calls, 0 where what was says nothing of what comes.
    """

    def __init__(self) -> None:
        self.eta = 1.0
        self._lengths: deque[int] = deque()
        self._sums = [0.0] * len(_moments(0))

    def add(self, num_calls: int) -> None:
        """One has ended."""
        self._lengths.append(num_calls)
        gone = self._lengths.popleft() if len(self._lengths) > WINDOW else 0
        changes = zip(self._sums, _moments(num_calls), _moments(gone), strict=True)
        self._sums = [total + new - old for total, new, old in changes]
        self.eta = _eta(*self._sums)


def _moments(n: int) -> tuple[float, ...]:
    """Of a program of n calls, thus the pairs (1, n - 1), ..., (n, 0) of calls made and left.

    Their number, the sums of each, of their squares, and of their products."""
    return (
        n,
        n * (n + 1) / 2,
        n * (n - 1) / 2,
        n * (n + 1) * (2 * n + 1) / 6,
        (n - 1) * n * (2 * n - 1) / 6,
        (n - 1) * n * (n + 1) / 6,
    )


def _eta(
    num: float, made: float, left: float, made_squared: float, left_squared: float, both: float
) -> float:
    if num < 2:
        return 1.0
    covariance = both / num - made / num * left / num
    spread = (made_squared / num - (made / num) ** 2) * (left_squared / num - (left / num) ** 2)
    return min(1.0, max(0.0, -covariance / spread**0.5)) if spread > 0 else 1.0
