"""One way to run a trace: a policy, prefetch or not, one pool or two."""

import enum

from msgspec import Struct

from motet.memory.eviction import BELADY


class Hints(enum.StrEnum):
    """What agents and their world announce."""

    GIVEN = "given"
    """What the trace says that they announce."""
    NONE = "none"
    TRUTH = "truth"


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
