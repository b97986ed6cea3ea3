"""One way to run a trace: a policy, prefetch or not, one pool or two, and what is announced."""

import enum

from msgspec import Struct

from motet.memory.eviction import BELADY


class Hints(enum.StrEnum):
    """What agents and their world announce."""

    GIVEN = "given"
    """What the trace says that they announce."""
    NONE = "none"
    TRUTH = "truth"
    RANDOM = "random"
    """Anything up to twice the mean of true distances."""
    REVERSED = "reversed"
    """Who is far says near, and who is near says far."""
    ZERO = "zero"
    """Everybody says at once."""
    STALE = "stale"
    """What was true of the agent's call before."""

    @property
    def are_lies(self) -> bool:
        """They then stand for all that is announced: no world corrects them."""
        return self in (Hints.RANDOM, Hints.REVERSED, Hints.ZERO, Hints.STALE)


class Arm(Struct, frozen=True):
    eviction: str = "distance_cost"
    prefetch: bool = True
    pool_split: str = "unified"
    hints: Hints = Hints.GIVEN
    noise_steps: float = 0.0
    """Standard deviation of an error on everything that is announced."""

    @property
    def is_belady(self) -> bool:
        return self.eviction == BELADY

    def __str__(self) -> str:
        words = [self.eviction, "prefetch" if self.prefetch else "no prefetch"]
        if self.pool_split != "unified":
            words.append(f"split {self.pool_split}")
        if not self.is_belady and self.hints is not Hints.GIVEN:
            words.append(f"hints {self.hints}")
        if self.noise_steps:
            words.append(f"noise {self.noise_steps:g}")
        return ", ".join(words)
