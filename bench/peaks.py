"""What this machine can do at best, measured: reading memory, and multiplying matrices."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

CACHE = Path("/sys/devices/system/cpu/cpu0/cache")
USUAL_CACHE_BYTES = 32 * 1024**2
"""Where the kernel does not say."""

TIMES_THE_CACHE = 16
"""How much larger than the last cache the buffer is whose reading is timed."""

MATRIX_SIZES = (512, 1024, 2048, 4096)
SLOW_S = 1.0
"""A product that takes longer is the last that is tried: larger ones will not be faster."""


@dataclass(frozen=True, slots=True)
class Floor:
    """The least time that some work can take, and what bounds it."""

    seconds: float
    bound: str
    """`read` or `matrix`."""


@dataclass(frozen=True, slots=True)
class Peaks:
    read_bytes_per_s: float
    flops_per_s: Mapping[str, float]
    """dtype -> floating point operations of `torch.mm`."""

    def best_flops_per_s(self, dtype: str) -> float:
        """Where products of a dtype are slow, it can be widened first."""
        return max(self.flops_per_s[dtype], self.flops_per_s["float32"])

    def floor(self, num_bytes: float, flops: float, dtype: str) -> Floor:
        """Of work that must move so many bytes and do so many operations."""
        read_s = num_bytes / self.read_bytes_per_s
        matrix_s = flops / self.best_flops_per_s(dtype)
        return Floor(read_s, "read") if read_s >= matrix_s else Floor(matrix_s, "matrix")

    def line(self) -> str:
        flops = ", ".join(f"{name} {rate / 1e9:,.0f}" for name, rate in self.flops_per_s.items())
        return (
            f"measured at best: reading {self.read_bytes_per_s / 1e9:.1f} GB/s, "
            f"torch.mm in GFLOP/s: {flops}"
        )


def measure_peaks(
    dtypes: Mapping[str, torch.dtype], times_the_cache: int = TIMES_THE_CACHE
) -> Peaks:
    """Takes seconds. `dtypes` has float32."""
    return Peaks(
        read_bytes_per_s=_read_bytes_per_s(times_the_cache * last_cache_bytes()),
        flops_per_s={name: _flops_per_s(dtype) for name, dtype in dtypes.items()},
    )


def last_cache_bytes() -> int:
    sizes = [path.read_text().strip() for path in CACHE.glob("index*/size")]
    return max((int(size.removesuffix("K")) * 1024 for size in sizes), default=USUAL_CACHE_BYTES)


def _read_bytes_per_s(num_bytes: int) -> float:
    """Of two plain ways to read a buffer with all threads, the faster."""
    matrix = torch.ones(num_bytes // 4096, 1024)
    vector = torch.ones(1024)
    return num_bytes / min(
        _best_s(lambda: torch.mv(matrix, vector)),
        _best_s(lambda: matrix.sum()),
    )


def _flops_per_s(dtype: torch.dtype) -> float:
    best = 0.0
    for size in MATRIX_SIZES:
        x, y = (torch.randn(size, size).to(dtype) for _ in range(2))
        start_s = time.perf_counter()
        torch.mm(x, y)
        first_s = time.perf_counter() - start_s
        if first_s < SLOW_S:
            first_s = min(first_s, _best_s(partial(torch.mm, x, y)))
        best = max(best, 2 * size**3 / first_s)
        if first_s >= SLOW_S:
            break
    return best


def _best_s(call: Callable[[], object], repeat: int = 5) -> float:
    """The least of several: others that use the machine only ever add."""
    seconds = []
    for _ in range(repeat):
        start_s = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start_s)
    return min(seconds)
