"""How many agents may be under way at once before they take each other's state away.

CONCUR (2026): in the middle of agentic batches, caches fail long before memory is full. As in
congestion control, the limit falls by a factor when work is done twice, and grows by one when not.
"""

from collections.abc import Collection

from motet.memory.agents import Agent

WINDOW_STEPS = 64
"""Over which useful and wasted work are compared."""

DECREASE = 0.7

RETURN_S = 1.0
"""Who calls again so soon is still under way between its calls."""


class ThrashGuard:
    """Counts tokens: those computed for the first time, and those that were computed before and
    lost, or could have been computed while nothing was because everybody waited for state."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = most
        """Agents under way at once."""
        self._active: dict[Agent, None] = {}
        self._useful = self._wasted = 0.0
        self._num_steps = 0

    def step(self, num_useful: float, num_wasted: float) -> None:
        """What a step was for."""
        self._useful += num_useful
        self._wasted += num_wasted
        self._num_steps += 1
        if self._num_steps < WINDOW_STEPS:
            return
        self._forget_absent()
        if self._wasted > self._useful:
            self.limit = max(1, int(DECREASE * min(self.limit, max(1, len(self._active)))))
        else:
            self.limit = min(self._most, self.limit + 1)
        self._useful = self._wasted = 0.0
        self._num_steps = 0

    def admits(self, agent: Agent | None, num_running: int) -> bool:
        """May a request of this agent begin? One always may where nothing runs."""
        if agent is None or agent in self._active or num_running == 0:
            return True
        if len(self._active) >= self.limit:
            self._forget_absent()
        return len(self._active) < self.limit

    def begun(self, agent: Agent) -> None:
        """A request of it runs."""
        self._active[agent] = None

    @property
    def active(self) -> Collection[Agent]:
        return self._active.keys()

    def _forget_absent(self) -> None:
        """Who is away for longer is not under way."""
        for agent in list(self._active):
            if not agent.num_running and agent.distance_s > RETURN_S:
                del self._active[agent]
