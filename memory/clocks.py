"""The clocks on which agents are due: seconds, and the steps of worlds."""

from typing import Protocol

SMOOTHING = 0.2
"""Of the moving average of what a step takes: a world's load changes within a few steps."""


class Clock(Protocol):
    """One clock of many. Its units only mean something beside other moments on the same clock."""

    horizon: float
    """Units beyond which nobody knows more of an agent than that it is far off."""
    resolution: float
    """Units that make no difference."""
    is_real: bool
    """Does it show seconds?"""

    @property
    def now(self) -> float: ...

    def seconds_to(self, at: float) -> float:
        """Until the moment `at`, as far as can be said now; negative where it has passed."""


class RealTime:
    """Seconds on the engine's clock."""

    horizon = 600.0
    resolution = 0.25
    is_real = True

    def __init__(self) -> None:
        self.now = 0.0
        """As far as it has been told."""

    def seconds_to(self, at: float) -> float:
        return at - self.now


class StepClock:
    """Steps of a simulated world. It stands still between two ticks."""

    horizon = 64.0
    resolution = 1.0
    is_real = False

    def __init__(self, time: RealTime) -> None:
        self.now = 0.0
        """Steps that are over."""
        self.step_s = 1.0
        """What a step takes: a moving average."""
        self._time = time
        self._ticked_s: float | None = None

    def tick(self, num_steps: int) -> None:
        """So many steps are over since the last tick."""
        now_s = self._time.now
        if self._ticked_s is not None and num_steps:
            step_s = (now_s - self._ticked_s) / num_steps
            self.step_s += SMOOTHING * (step_s - self.step_s)
        self._ticked_s = now_s
        self.now += num_steps

    def seconds_to(self, at: float) -> float:
        elapsed_s = 0.0 if self._ticked_s is None else self._time.now - self._ticked_s
        return (at - self.now) * self.step_s - min(elapsed_s, self.step_s)
