"""What a world has announced of its agents, so that it need not say it again."""

from collections.abc import Mapping

from motet.client.workloads.trace import NEVER, Push


class Announced:
    """The step in which each agent is expected to call, as far as it was announced."""

    def __init__(self) -> None:
        self._due: dict[str, int] = {}

    def by_hint(self, agent: str, step: int, hint: int | None) -> None:
        """An agent has called in `step`, and said when it will again."""
        if hint is None:
            self._due.pop(agent, None)
        else:
            self._due[agent] = step + hint

    def push(self, step: int, distances: Mapping[str, int]) -> Push | None:
        """What is new when `step` begins; `distances` are all that the world expects."""
        changed = {
            agent: distance
            for agent, distance in distances.items()
            if agent not in self._due or max(self._due[agent], step) != step + distance
        }
        for agent in self._due.keys() - distances.keys():
            changed[agent] = NEVER
            del self._due[agent]
        self._due |= {agent: step + distances[agent] for agent in changed if agent in distances}
        return Push(step, dict(sorted(changed.items()))) if changed else None
