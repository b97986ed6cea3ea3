"""Which constants of a cost model the steps of a real run speak for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from motet.bench.replay.costs import GB, StepWork

ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Fit:
    """Named as in `Machine`."""

    flops: float
    memory_gbs: float
    step_s: float
    row_s: float

    def __str__(self) -> str:
        return (
            f"flops={self.flops:.3g}, memory_gbs={self.memory_gbs:.3g}, step_s={self.step_s:.3g}, "
            f"row_s={self.row_s:.3g}"
        )


def fit(steps: Sequence[tuple[StepWork, float]]) -> Fit:
    """By least squares of relative errors. A step takes the longer of what it computes and what it
    reads: which of them that is comes from the constants of the round before."""
    works = np.array([work for work, _ in steps], dtype=np.float64)
    seconds = np.array([seconds for _, seconds in steps])
    num_rows, _, flops, num_bytes = works.T  # most rows have an adapter of their own
    computes = flops / flops.max() > num_bytes / num_bytes.max()
    found = np.zeros(4)
    for _ in range(ROUNDS):
        columns = np.stack(
            [np.ones_like(seconds), num_rows, flops * computes, num_bytes * ~computes]
        )
        found = _least_squares((columns / seconds).T, np.ones_like(seconds))
        again = flops * found[2] > num_bytes * found[3]
        if np.array_equal(again, computes):
            break
        computes = again
    step_s, row_s, flop_s, byte_s = found.tolist()
    return Fit(
        flops=1 / flop_s if flop_s else np.inf,
        memory_gbs=1 / (byte_s * GB) if byte_s else np.inf,
        step_s=step_s,
        row_s=row_s,
    )


def _least_squares(
    columns: "np.ndarray[tuple[int, int], np.dtype[np.float64]]",
    wanted: "np.ndarray[tuple[int], np.dtype[np.float64]]",
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """No factor is below 0: whatever would be is left out."""
    scale = np.abs(columns).max(axis=0)
    used = scale > 0
    found = np.zeros(columns.shape[1])
    while used.any():
        part, *_ = np.linalg.lstsq(columns[:, used] / scale[used], wanted, rcond=None)
        found[:] = 0.0
        found[used] = part / scale[used]
        if (found >= 0).all():
            break
        used &= found > 0
    return found
