"""What the bench of kernels found: its table and its plot."""

from dataclasses import dataclass

from rich.table import Table

from motet.bench.command import a_table
from motet.bench.machine import Machine
from motet.bench.peaks import Floor, Peaks
from motet.bench.plot import Bar, bars_svg

MIB = 1024**2
LONGEST_BAR = 1.5
"""Shares above 1 came from a cache; by how much is not the point."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One kernel on one shape, by every backend."""

    kernel: str
    shape: str
    dtype: str
    num_bytes: int
    flops: int
    seconds: dict[str, float]
    """Backend -> median of a call."""


@dataclass(frozen=True, slots=True)
class KernelReport:
    machine: Machine
    threads: int
    command: str
    peaks: Peaks
    backends: tuple[str, ...]
    timings: tuple[Timing, ...]

    def floor(self, timing: Timing) -> Floor:
        return self.peaks.floor(timing.num_bytes, timing.flops, timing.dtype)

    def share(self, timing: Timing, backend: str) -> float:
        """Of the least time that the machine allows in the time it took."""
        return self.floor(timing).seconds / timing.seconds[backend]

    def rows(self, dtype: str) -> list[tuple[str, ...]]:
        """Cells as in `columns`."""
        return [self._row(timing) for timing in self.timings if timing.dtype == dtype]

    def columns(self) -> list[str]:
        measured = [f"{name}\n{what}" for name in self.backends for what in ("us", "share")]
        return ["kernel", "shape", "bound by", *measured, *self._ratio_columns()]

    def table(self, dtype: str) -> Table:
        return a_table(self.columns(), self.rows(dtype), num_left=2, title=dtype)

    def plot(self) -> str:
        bars = [
            Bar(_label(timing), backend, share, f"{share:.2f}")
            for timing in self.timings
            for backend in self.backends
            for share in (self.share(timing, backend),)
        ]
        title = "Share of the measured bound that kernels reach: 1 is as fast as the machine allows"
        return bars_svg(title, bars, most=LONGEST_BAR, footer=self.footer())

    def footer(self) -> list[str]:
        return [
            "share: least time by the measured bound / time taken; above 1: much came from a cache",
            self.peaks.line(),
            self.machine.line(self.threads),
            self.command,
        ]

    def _row(self, timing: Timing) -> tuple[str, ...]:
        measured = [
            cell
            for backend in self.backends
            for cell in (
                f"{1e6 * timing.seconds[backend]:,.1f}",
                f"{self.share(timing, backend):.2f}",
            )
        ]
        return (
            timing.kernel,
            timing.shape,
            self._bound(timing),
            *measured,
            *self._ratios(timing),
        )

    def _bound(self, timing: Timing) -> str:
        if self.floor(timing).bound == "read":
            return f"{timing.num_bytes / MIB:,.2f} MiB"
        return f"{timing.flops / 1e6:,.0f} MFLOP"

    def _ratio_columns(self) -> list[str]:
        """How many times as fast the first backend is as each of the others."""
        return [f"times\n{other}" for other in self.backends[1:]]

    def _ratios(self, timing: Timing) -> list[str]:
        first, *others = (timing.seconds[backend] for backend in self.backends)
        return [f"{other / first:.2f}" for other in others]


def _label(timing: Timing) -> str:
    return f"{timing.kernel}, {timing.shape}, {timing.dtype}"
