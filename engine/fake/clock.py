"""Time that passes only when somebody says so, and what a step takes of it."""

from dataclasses import dataclass

from motet.engine.plan import Batch


@dataclass(slots=True)
class VirtualClock:
    """Seconds."""

    now: float = 0.0


@dataclass(frozen=True, slots=True)
class StepCost:
    """What a batch takes, in seconds."""

    base_s: float = 0.01
    token_s: float = 0.0001

    def seconds(self, batch: Batch) -> float:
        return self.base_s + self.token_s * sum(len(row.tokens) for row in batch.rows)
