"""How long calls waited."""

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True)
class Latency:
    """Of calls, in seconds."""

    first_tokens: list[float] = field(default_factory=list)
    by_agent: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def first_token(self, seconds: float) -> None:
        self.first_tokens.append(seconds)

    def finished(self, agent: str, seconds: float) -> None:
        self.by_agent[agent].append(seconds)

    def quantile(self, share: float) -> float:
        """Of times to the first token."""
        ordered = sorted(self.first_tokens)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def fairness(self) -> float:
        """Jain's index of the agents' mean times: 1 where all are served alike."""
        means = [sum(times) / len(times) for times in self.by_agent.values()]
        squares = sum(mean * mean for mean in means)
        return sum(means) ** 2 / (len(means) * squares) if squares else 1.0
