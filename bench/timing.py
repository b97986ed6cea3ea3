"""How long a call takes, on a machine that others use too."""

import time
from collections.abc import Callable, Sequence
from itertools import cycle
from statistics import median

LEAST_REPEATS = 5


def median_s(calls: Sequence[Callable[[], object]], budget_s: float) -> float:
    """Of one call; they are made in turn, after one of warm-up each, until the budget is spent."""
    for call in calls:
        call()
    seconds: list[float] = []
    in_turn = cycle(calls)
    end_s = time.perf_counter() + budget_s
    while len(seconds) < LEAST_REPEATS or time.perf_counter() < end_s:
        call = next(in_turn)
        start_s = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start_s)
    return median(seconds)
