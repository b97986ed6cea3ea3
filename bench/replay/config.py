"""Every option of `motet replay`, once: the command line derives from here."""

import math
import os
import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

from motet.bench.replay.arm import Arm, Hints
from motet.bench.replay.costs import COST_MODELS
from motet.engine.config import Bounded, option
from motet.errors import ConfigError
from motet.memory.eviction import BELADY, EVICTION

WORKLOADS = (
    *("independent", "town", "diffusion", "rounds"),
    *("workflow", "toolloop", "subagents", "manylora", "phases"),
)
FORMATS = ("motet", "mooncake", "burstgpt")
"""Those of `client.workloads`, which takes long to import: every command would wait for it."""

UNIFIED = "unified"

DEFAULT_ARMS = (
    ("lru", False),
    ("lru", True),
    ("distance", True),
    ("distance_cost", False),
    ("distance_cost", True),
    (BELADY, True),
)
"""Eviction, and whether it prefetches."""

DEFAULT_POOL_RATIO = 0.2
HINTS = tuple(hints for hints in Hints if hints is not Hints.TRUTH)


@dataclass(frozen=True, slots=True)
class TraceConfig(Bounded):
    """What agents do: a file, or a workload that is generated."""

    format: str = option("motet", "Whose format TRACE has.", choices=FORMATS)
    workload: str | None = option(
        None,
        f"What to generate without TRACE: {', '.join(WORKLOADS)}; default: "
        "independent with 100 steps.",
    )
    agents: int | None = option(None, "Agents of the workload; default: its own.", most=10**7)
    steps: int | None = option(None, "Steps of the workload; default: its own.", most=10**7)
    activity: float | None = option(
        None, "Share of agents that call in a step of the workload; default: its own."
    )
    seed: int | None = option(None, "Seed of the workload and of noise; default: 0.")

    @property
    def given(self) -> dict[str, float]:
        """Parameters of the workload."""
        names = ("agents", "steps", "activity", "seed")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class SettingConfig(Bounded):
    """The machine: a pool, the memory behind it, and what things take."""

    cost_model: str = option("h200-8b", "A machine and a model on it.", choices=tuple(COST_MODELS))
    pool_bytes: int | None = option(None, "Size of the page pool, such as 8GiB.", most=2**60)
    pool_ratio: float | None = option(
        None,
        f"The same, as a share of all state of the agents; default: {DEFAULT_POOL_RATIO}, where "
        "--pool-bytes is not given.",
    )
    host_ratio: float = option(1.5, "Host memory, as a share of all state of the agents.")
    page_tokens: int = option(64, "Tokens per page.", most=2**16)

    def __post_init__(self) -> None:
        Bounded.__post_init__(self)
        if self.pool_bytes is not None and self.pool_ratio is not None:
            raise ConfigError(
                f"--pool-ratio is {self.pool_ratio} beside --pool-bytes {self.pool_bytes}: give "
                "one of them"
            )
        if self.pool_ratio is not None and not 0 < self.pool_ratio < math.inf:
            raise ConfigError(f"--pool-ratio is {self.pool_ratio}: give a share above 0")
        if not 0 <= self.host_ratio < math.inf:
            raise ConfigError(f"--host-ratio is {self.host_ratio}: give a share, 0 or more")


@dataclass(frozen=True, slots=True)
class ArmsConfig(Bounded):
    """What to compare: each of one list with each of the others."""

    eviction: str | None = option(
        None,
        f"Policies, separated by commas: {', '.join(EVICTION)}, and {BELADY}, which is told the "
        "truth; default: six rows, together with --prefetch.",
    )
    prefetch: str | None = option(None, "on, off or on,off; default: see --eviction.")
    pool_split: str = option(
        UNIFIED, "unified, or shares of the pool for adapters alone, separated by commas."
    )
    hints: str = option("given", f"What is announced, separated by commas: {', '.join(HINTS)}.")
    noise_steps: float = option(
        0.0, "Standard deviation of an error on what is announced as given, in steps or seconds."
    )
    jobs: int | None = option(None, "Rows at once; default: one for each core.", most=1024)

    def __post_init__(self) -> None:
        Bounded.__post_init__(self)
        if not 0 <= self.noise_steps < math.inf:
            raise ConfigError(f"--noise-steps is {self.noise_steps}: give 0 or more")
        _ = self.arms

    @property
    def num_jobs(self) -> int:
        return self.jobs or len(os.sched_getaffinity(0))

    @property
    def arms(self) -> list[Arm]:
        """In the order of the table. Raises ConfigError."""
        arms = [
            self._arm(eviction, prefetch, split, hints)
            for split in _several("--pool-split", self.pool_split, _is_split, _SPLIT)
            for hints in _several("--hints", self.hints, HINTS.__contains__, " or ".join(HINTS))
            for eviction, prefetch in self._policies()
        ]
        return list(dict.fromkeys(arms))

    def _policies(self) -> Iterator[tuple[str, bool]]:
        if self.eviction is None and self.prefetch is None:
            yield from DEFAULT_ARMS
            return
        known = (*EVICTION, BELADY)
        evictions = _several(
            "--eviction", self.eviction or ",".join(known), known.__contains__, " or ".join(known)
        )
        words = self.prefetch or "off,on"
        prefetches = _several("--prefetch", words, ("on", "off").__contains__, "on or off")
        yield from product(evictions, [word == "on" for word in prefetches])

    def _arm(self, eviction: str, prefetch: bool, split: str, hints: str) -> Arm:
        if eviction == BELADY:
            return Arm(eviction, prefetch, split, Hints.TRUTH)
        noise = self.noise_steps if hints == Hints.GIVEN else 0.0
        return Arm(eviction, prefetch, split, Hints(hints), noise)


_SPLIT = "unified or a share above 0 and below 1, such as 0.3"


def _several(flag: str, text: str, is_known: Callable[[str], bool], remedy: str) -> list[str]:
    """Words of a list with commas."""
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if not is_known(word):
            raise ConfigError(f"{flag} has {reprlib.repr(word)}: give {remedy}")
    return words


def _is_split(word: str) -> bool:
    try:
        return word == UNIFIED or 0 < float(word) < 1
    except ValueError:
        return False
