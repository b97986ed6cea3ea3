"""What the bench of the engine found: its tables and its plots."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

from rich.table import Table

from motet.bench.command import a_table
from motet.bench.engine.measure import Measured, Memory, Pairs, StepWork
from motet.bench.engine.scenario import Scenario
from motet.bench.machine import Machine
from motet.bench.peaks import Peaks
from motet.bench.plot import Bar, bars_svg

MIB = 1024**2
LONGEST_BAR = 1.25
COLUMNS = (
    "rows",
    "adapters",
    "ranks",
    "decode\nms a step",
    "\ntok/s",
    "ratio\nto base",
    "prefill\ntok/s",
    "ratio\nto base",
)
CHECK_COLUMNS = ("what", "measured", "against", "", "ratio", "goal")


@dataclass(frozen=True, slots=True)
class Ratio:
    """A number beside what it is compared with."""

    what: str
    measured: str
    against: str
    value: str
    ratio: float
    goal: str

    def cells(self) -> tuple[str, ...]:
        ratio = f"{self.ratio:.3f}"
        return (self.what, self.measured, self.against, self.value, ratio, self.goal)


@dataclass(frozen=True, slots=True)
class EngineReport:
    machine: Machine
    threads: int
    command: str
    model: str
    dtype: str
    prompt_tokens: int
    peaks: Peaks
    work: StepWork
    measured: tuple[Measured, ...]
    switched_off: Pairs
    """Steps of base rows: adapters are registered, against an engine without any."""
    pair_rows: int
    alike: tuple[Measured, ...]
    """Adapters of equal rank, plain ones first and then of other kinds."""
    modes: tuple[tuple[Measured, Measured], ...]
    """By default, and deterministic."""
    memory: Memory
    prefix_hits: int

    def rows(self) -> list[tuple[str, ...]]:
        """Cells as in COLUMNS."""
        return [self._row(measured) for measured in self.measured]

    def table(self) -> Table:
        title = f"{self.model}, {self.dtype}, prompts of {self.prompt_tokens} tokens"
        return a_table(COLUMNS, self.rows(), num_left=0, title=title)

    def checks(self) -> list[Ratio]:
        step_s, rows = median(self.switched_off.ours_s), self.pair_rows
        read_s = self.work.weight_bytes / self.peaks.read_bytes_per_s
        flops = rows * self.work.flops_per_row
        matrix_s = flops / self.peaks.best_flops_per_s(self.dtype)
        step, memory = f"decode step, {rows} base rows", self.memory
        least_bytes = memory.weight_bytes + memory.pool_bytes
        return [
            Ratio(
                step, _ms(step_s), "weights read once", _ms(read_s), step_s / read_s, "at most 2"
            ),
            Ratio(step, _ms(step_s), "its arithmetic", _ms(matrix_s), step_s / matrix_s, ""),
            Ratio(
                f"{step}, adapters registered",
                _ms(step_s),
                "no adapters at all",
                _ms(median(self.switched_off.others_s)),
                self.switched_off.ratio,
                "at most 1.01",
            ),
            Ratio(
                f"anonymous memory, {memory.scenario}",
                _mib(memory.anonymous_bytes),
                "weights and pages in use",
                _mib(least_bytes),
                memory.anonymous_bytes / least_bytes,
                f"at most 600 MB more: {memory.rest_bytes / 1e6:,.0f}",
            ),
            *self._kind_checks(),
            *self._mode_checks(),
        ]

    def _kind_checks(self) -> Iterator[Ratio]:
        plain, *others = self.alike
        for other in others:
            pairs = zip(other.decode_s, plain.decode_s, strict=True)
            yield Ratio(
                f"decode step, {other.scenario}",
                _ms(median(other.decode_s)),
                "plain adapters",
                _ms(median(plain.decode_s)),
                median(other_s / plain_s for other_s, plain_s in pairs),
                "at most 1.15",
            )

    def _mode_checks(self) -> Iterator[Ratio]:
        for default, exact in self.modes:
            for what, seconds in (("decode step", decode_s), ("prefill", prefill_s)):
                pairs = zip(seconds(default), seconds(exact), strict=True)
                yield Ratio(
                    f"deterministic {what}, {default.scenario}",
                    _ms(median(seconds(exact))),
                    "default",
                    _ms(median(seconds(default))),
                    median(default_s / exact_s for default_s, exact_s in pairs),
                    "rate at least 0.6",
                )

    def check_table(self) -> Table:
        return a_table(CHECK_COLUMNS, [check.cells() for check in self.checks()], num_left=1)

    def plots(self) -> dict[str, str]:
        return {
            "engine-decode": self._plot(
                "Decode by rows and adapters: rate as a share of the base model's own",
                decode_s,
                lambda one: _ms(median(one.decode_s)),
            ),
            "engine-prefill": self._plot(
                "Prefill by rows and adapters: rate as a share of the base model's own",
                prefill_s,
                lambda one: f"{self._prefill_rate(one):,.0f} tok/s",
            ),
        }

    def footer(self) -> list[str]:
        return [
            "ratio to base: of rates, the median over rounds; a base row is the same engine "
            "without LoRA rows",
            f"prompt tokens that came from a cache: {self.prefix_hits}",
            self.peaks.line(),
            self.machine.line(self.threads),
            self.command,
        ]

    def ratio(self, measured: Measured, seconds: "Seconds") -> float:
        """Of its rate to that of as many base rows in the same round."""
        base = next(one for one in self.measured if one.scenario == measured.scenario.base)
        pairs = zip(seconds(base), seconds(measured), strict=True)
        return median(base_s / own_s for base_s, own_s in pairs)

    def _row(self, measured: Measured) -> tuple[str, ...]:
        scenario, step_s = measured.scenario, median(measured.decode_s)
        return (
            str(scenario.num_rows),
            str(scenario.num_adapters),
            scenario.ranks,
            f"{1000 * step_s:,.1f}",
            f"{scenario.num_rows / step_s:,.1f}",
            f"{self.ratio(measured, decode_s):.2f}",
            f"{self._prefill_rate(measured):,.0f}",
            f"{self.ratio(measured, prefill_s):.2f}",
        )

    def _prefill_rate(self, measured: Measured) -> float:
        num_tokens = measured.scenario.num_rows * self.prompt_tokens
        return num_tokens / median(measured.prefill_s)

    def _plot(self, title: str, seconds: "Seconds", text: Callable[[Measured], str]) -> str:
        bars = []
        for measured in self.measured:
            ratio = self.ratio(measured, seconds)
            label = f"{ratio:.2f} ({text(measured)})"
            bars.append(Bar(str(measured.scenario), _series(measured.scenario), ratio, label))
        return bars_svg(title, bars, most=LONGEST_BAR, footer=self.footer())


Seconds = Callable[[Measured], tuple[float, ...]]
"""Of each round: one of these two."""


def decode_s(measured: Measured) -> tuple[float, ...]:
    return measured.decode_s


def prefill_s(measured: Measured) -> tuple[float, ...]:
    return measured.prefill_s


def _series(scenario: Scenario) -> str:
    return {"": "base", "mixed": "mixed ranks"}.get(scenario.ranks, f"rank {scenario.ranks}")


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:,.1f} ms"


def _mib(num_bytes: int) -> str:
    return f"{num_bytes / MIB:,.0f} MiB"
