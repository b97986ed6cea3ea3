"""Random numbers of given means."""

import math

import numpy as np
from numpy.typing import NDArray


def lognormal(
    rng: np.random.Generator, mean: float, sigma: float, size: int
) -> NDArray[np.float64]:
    """`mean` is that of the numbers, `sigma` that of their logarithms."""
    return rng.lognormal(math.log(mean) - sigma**2 / 2, sigma, size)


def whole_lognormal(rng: np.random.Generator, mean: float, sigma: float, size: int) -> list[int]:
    """The same, rounded, and at least 1."""
    return _whole(lognormal(rng, mean, sigma, size))


def remaining_lognormal(rng: np.random.Generator, mean: float, sigma: float) -> int:
    """What is left, at a random moment, of a row of durations from `whole_lognormal`.

    A moment falls into long ones more often: their lengths there are lognormal too, with a mean
    that is exp(sigma^2) times as large.
    """
    [length] = whole_lognormal(rng, mean * math.exp(sigma**2), sigma, 1)
    return int(rng.integers(length))


def log_uniform(rng: np.random.Generator, low: float, high: float, size: int) -> list[int]:
    """Every doubling between `low` and `high` is equally likely."""
    return _whole(np.exp(rng.uniform(math.log(low), math.log(high), size)))


def _whole(numbers: NDArray[np.float64]) -> list[int]:
    return [int(number) for number in np.maximum(1, np.rint(numbers))]
