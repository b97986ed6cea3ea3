"""What agents do between two calls, and how long it takes."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

HUMAN = "human"
HUMAN_S = 120.0
"""Mean of the time until a human answers."""
LONGEST_S = 1800.0


class Gap(NamedTuple):
    tool: str
    seconds: float
    hint_s: float | None
    """What an agent that knows its tools expects; None: it depends on somebody else."""


@dataclass(frozen=True, slots=True)
class _Tool:
    name: str
    share: float
    """Of all uses."""
    typical_s: float
    """The median."""
    low_s: float
    high_s: float | None
    """None: a Pareto tail from `low_s` on."""


TOOLS = (  # 86 % under a second, 9 % in 1 to 10 s, 5 % with a heavy tail
    _Tool("read_file", 0.40, 0.032, 0.01, 0.1),
    _Tool("edit_file", 0.26, 0.1, 0.05, 0.2),
    _Tool("search", 0.20, 0.45, 0.2, 1.0),
    _Tool("run_tests", 0.09, 3.16, 1.0, 10.0),
    _Tool("build", 0.05, 15.9, 10.0, None),
)
TAIL = 1.5
"""Exponent of the Pareto tail: its median is 2 ** (1 / TAIL) times its beginning."""


def gaps(rng: np.random.Generator, size: int, human_share: float = 0.0) -> list[Gap]:
    """Uses of tools at random, and answers of humans for a share of them."""
    which = rng.choice(len(TOOLS), size, p=[tool.share for tool in TOOLS]).tolist()
    is_human = (rng.random(size) < human_share).tolist()
    return [
        _answer(rng) if human else _use(rng, TOOLS[index])
        for index, human in zip(which, is_human, strict=True)
    ]


def _answer(rng: np.random.Generator) -> Gap:
    return Gap(HUMAN, _rounded(rng.exponential(HUMAN_S)), None)


def _use(rng: np.random.Generator, tool: _Tool) -> Gap:
    if tool.high_s is None:
        seconds = tool.low_s * (1 + rng.pareto(TAIL))
    else:
        seconds = tool.low_s * (tool.high_s / tool.low_s) ** rng.random()
    return Gap(tool.name, _rounded(seconds), tool.typical_s)


def _rounded(seconds: float) -> float:
    return round(float(min(seconds, LONGEST_S)), 6)
