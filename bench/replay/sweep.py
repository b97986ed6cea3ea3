"""Where distances pay: how much faster than LRU, over activity, pool and whatever else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from msgspec import Struct
from rich.table import Table

from motet.bench.command import a_table
from motet.bench.replay.arm import Arm, Hints
from motet.bench.replay.config import SettingConfig, TraceConfig
from motet.bench.replay.report import rate
from motet.bench.replay.result import Row
from motet.bench.replay.run import Setting
from motet.bench.replay.setting import setting_of, trace_of
from motet.client.workloads import Trace
from motet.errors import ConfigError
from motet.memory.eviction import BELADY

WORKLOAD: dict[str, Callable[[str], float]] = {
    "activity": float,
    "agents": int,
    "steps": int,
    "seed": int,
}
SETTING: dict[str, Callable[[str], float]] = {
    "pool-ratio": float,
    "host-ratio": float,
    "page-tokens": int,
}
SWEPT = WORKLOAD | SETTING
"""What may differ from point to point, and how it is read."""

ARMS = (
    Arm("lru", prefetch=False),
    Arm("distance_cost", prefetch=True),
    Arm(BELADY, prefetch=True, hints=Hints.TRUTH),
)

Point = dict[str, float]


class PointRows(Struct, frozen=True):
    """What came of the arms at one point."""

    point: Point
    calls: int
    pool_pages: int
    rows: list[Row]


def points_of(words: Sequence[str]) -> list[Point]:
    """`name=value,value` each: all of them with all others. Raises ConfigError."""
    axes: dict[str, list[float]] = {}
    for word in words:
        name, _, values = word.partition("=")
        if name not in SWEPT:
            raise ConfigError(f"--sweep has '{word}': give name=value,value of {', '.join(SWEPT)}")
        try:
            axes[name] = [SWEPT[name](value) for value in values.split(",")]
        except ValueError as error:
            raise ConfigError(f"--sweep has '{word}': give numbers, separated by commas") from error
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def settings_of(
    points: Sequence[Point], trace: TraceConfig, setting: SettingConfig, file: Path | None
) -> list[Setting]:
    """Raises ConfigError where one of them cannot be run."""
    traces: dict[tuple[tuple[str, float], ...], Trace] = {}
    settings = []
    for point in points:
        swept = {name: value for name, value in point.items() if name in WORKLOAD}
        if file is not None and swept:
            raise ConfigError(
                f"--sweep has {', '.join(swept)}, and {file} is a trace: leave TRACE out"
            )
        key = tuple(swept.items())
        if key not in traces:
            traces[key] = trace_of(trace, file, **swept)
        changed: dict[str, Any] = {
            name.replace("-", "_"): value for name, value in point.items() if name in SETTING
        }
        seed = int(point.get("seed", trace.seed or 0))
        settings.append(setting_of(traces[key], replace(setting, **changed), seed))
    return settings


def rows_by_point(
    points: Sequence[Point], settings: Sequence[Setting], rows: Sequence[Row]
) -> list[PointRows]:
    size = len(ARMS)
    return [
        PointRows(
            point,
            len(setting.trace.calls),
            setting.num_pages,
            list(rows[size * index : size * (index + 1)]),
        )
        for index, (point, setting) in enumerate(zip(points, settings, strict=True))
    ]


def sweep_table(found: Sequence[PointRows]) -> Table:
    columns = [*found[0].point, "calls", "pages"]
    columns += ["lru", "distance_cost,\nprefetch", "ratio", "belady's", "TTFT p99\nratio"]
    return a_table(columns, [_cells(each) for each in found], num_left=0)


def _cells(each: PointRows) -> tuple[str, ...]:
    lru, distance, belady = each.rows
    wait = distance.ttft_p99_s / lru.ttft_p99_s if lru.ttft_p99_s else 1.0
    return (
        *(f"{value:g}" for value in each.point.values()),
        f"{each.calls:,}",
        f"{each.pool_pages:,}",
        f"{rate(lru):.3f}/s",
        f"{rate(distance):.3f}/s",
        f"{rate(distance) / rate(lru):.3f}",
        f"{rate(belady) / rate(lru):.3f}",
        f"{wait:.2f}",
    )


def facts_of(point: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:g}" for name, value in point.items())
