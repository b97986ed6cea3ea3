"""What a replay shows: tables, bars, a plot, and a file for programs."""

import math
from collections.abc import Iterator, Sequence

from msgspec import Struct
from rich.bar import Bar as TerminalBar
from rich.console import Console
from rich.table import Table

import motet
from motet.bench.command import a_table
from motet.bench.plot import Bar, bars_svg
from motet.bench.replay.config import UNIFIED
from motet.bench.replay.result import Row
from motet.bench.replay.run import Setting

GIB = 1024**3
DASH = "\N{EN DASH}"
BAR_WIDTH = 40
MOST_RATIO = 4.0
"""Where bars of a plot are cut."""


class TraceFacts(Struct, frozen=True, kw_only=True):
    workload: str
    seed: int
    parameters: dict[str, object]
    steps: int | None
    adapters: int
    calls: int
    state_bytes: int
    """Of all adapters, and of the longest KV that each agent will want back."""
    pool_bytes: int
    host_bytes: int
    page_bytes: int
    page_tokens: int


class CostFacts(Struct, frozen=True, kw_only=True):
    name: str
    source: str
    flops: float
    memory_gbs: float
    step_s: float
    row_s: float
    adapter_s: float
    link_gbs: float
    link_latency_s: float
    disk_gbs: float


class Report(Struct, frozen=True, kw_only=True):
    """Everything that a replay found."""

    motet: str = motet.__version__
    machine: str
    """That ran the replay; the times are those of the cost model."""
    command: str
    trace: TraceFacts
    cost_model: CostFacts
    rows: list[Row]


def trace_facts(setting: Setting) -> TraceFacts:
    header, page_bytes = setting.trace.header, setting.page_bytes
    return TraceFacts(
        workload=header.workload,
        seed=header.seed,
        parameters=header.parameters,
        steps=header.steps,
        adapters=len(header.adapters),
        calls=len(setting.trace.calls),
        state_bytes=setting.state.num_pages * page_bytes,
        pool_bytes=setting.num_pages * page_bytes,
        host_bytes=setting.num_host_pages * page_bytes,
        page_bytes=page_bytes,
        page_tokens=setting.page_tokens,
    )


def cost_facts(name: str, setting: Setting) -> CostFacts:
    machine = setting.cost.machine
    return CostFacts(
        name=name,
        source=machine.source,
        flops=machine.flops,
        memory_gbs=machine.memory_gbs,
        step_s=machine.step_s,
        row_s=machine.row_s,
        adapter_s=machine.adapter_s,
        link_gbs=machine.link_gbs,
        link_latency_s=machine.link_latency_s,
        disk_gbs=machine.disk_gbs,
    )


def heading(facts: TraceFacts) -> str:
    over = f" in {facts.steps:,} steps" if facts.steps is not None else ""
    return (
        f"{facts.workload}: {facts.calls:,} calls{over}, {facts.adapters:,} adapters; state "
        f"{_gib(facts.state_bytes)} GiB, pool {_gib(facts.pool_bytes)} GiB, host "
        f"{_gib(facts.host_bytes)} GiB"
    )


def footer(cost: CostFacts, command: str) -> list[str]:
    return [
        f"Times are those of a model of a machine, {cost.name}: {cost.source}.",
        command,
    ]


def rate(row: Row) -> float:
    """Steps of the world per second; where it has none, calls."""
    return row.calls_per_s if row.steps_per_s is None else row.steps_per_s


def names(rows: Sequence[Row]) -> list[str]:
    """What tells each row from the others."""
    splits, hints, noises = ({getattr(row, name) for row in rows} for name in TOLD)
    return [
        ", ".join(
            word
            for word in (
                row.eviction,
                "prefetch" if row.prefetch else "",
                f"split {row.pool_split}" if len(splits) > 1 or splits != {UNIFIED} else "",
                f"hints {row.hints}" if len(hints - {"truth"}) > 1 else "",
                f"noise {row.noise_steps:g}" if noises != {0.0} else "",
            )
            if word
        )
        for row in rows
    ]


TOLD = ("pool_split", "hints", "noise_steps")


# How long it took.

TIME_COLUMNS = (
    *("steps/s", "ratio", "makespan\ns", "calls/s"),
    *("TTFT p50\nms", "TTFT p99\nms", "stall\ns", "compute\ns"),
    *("link in\ns", "link out\ns", "disk\ns", "fairness"),
)


def time_table(rows: Sequence[Row]) -> Table:
    """The first row is what the others are compared with."""
    cells = [
        (
            name,
            DASH if row.steps_per_s is None else f"{row.steps_per_s:.3f}",
            f"{rate(row) / rate(rows[0]):.3f}",
            f"{row.makespan_s:,.1f}",
            f"{row.calls_per_s:,.2f}",
            f"{1000 * row.ttft_p50_s:,.0f}",
            f"{1000 * row.ttft_p99_s:,.0f}",
            f"{row.stall_s:,.2f}",
            f"{row.busy_s:,.1f}",
            f"{row.link_to_device_s:,.1f}",
            f"{row.link_to_host_s:,.1f}",
            f"{row.disk_s:,.1f}",
            f"{row.fairness:.3f}",
        )
        for name, row in zip(names(rows), rows, strict=True)
    ]
    return a_table(("policy", *TIME_COLUMNS), cells, num_left=1)


# What moved, and what was there.

MOVE_COLUMNS = (
    *("in\nGiB", "out\nGiB", "disk\nGiB"),
    *("copies\nahead", "useful\ncalls", "late", "wasted", "precision"),
    *("adapter on\ndevice", "on\nhost", "on\ndisk"),
    *("KV\nfound", "computed\nagain", "KV pages\nfrom host", "pre-\nempted"),
)


def move_table(rows: Sequence[Row]) -> Table:
    return a_table(
        ("policy", *MOVE_COLUMNS),
        [(name, *_moved(row)) for name, row in zip(names(rows), rows, strict=True)],
        num_left=1,
    )


def _moved(row: Row) -> Iterator[str]:
    yield from (_gib(row.loaded_bytes), _gib(row.written_back_bytes), _gib(row.read_bytes))
    yield f"{sum(row.prefetch_issued.values()):,}"
    yield from (f"{num:,}" for num in (row.prefetch_useful, row.prefetch_late, row.prefetch_wasted))
    yield DASH if row.prefetch_precision is None else f"{row.prefetch_precision:.1%}"
    hits = (row.adapter_hits_device, row.adapter_hits_host, row.adapter_hits_disk)
    yield from (f"{num / sum(hits):.1%}" if sum(hits) else DASH for num in hits)
    yield f"{1 - row.recomputed_share:.1%}" if row.expected_tokens else DASH
    yield f"{row.recomputed_share:.1%}" if row.expected_tokens else DASH
    yield f"{row.restored_kv_pages:,}"
    yield f"{row.preemptions:,}"


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / GIB:,.1f}"


# Bars.


def show_bars(rows: Sequence[Row]) -> None:
    """On a terminal: how the rates compare."""
    console = Console()
    if not console.is_terminal:
        return
    ratios = [rate(row) / rate(rows[0]) for row in rows]
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, ratio in zip(names(rows), ratios, strict=True):
        bar = TerminalBar(max(ratios), 0, ratio, width=BAR_WIDTH)
        table.add_row(name, bar, f"{ratio:.3f}")
    console.print(table)
    console.print()


def plot(facts: TraceFacts, rows: Sequence[Row], notes: Sequence[str]) -> str:
    """An SVG."""
    what = "calls/s" if facts.steps is None else "steps/s"
    bars, first = list[Bar](), rows[0]
    for name, row in zip(names(rows), rows, strict=True):
        speed = rate(row) / rate(first)
        wait = row.ttft_p99_s / first.ttft_p99_s if first.ttft_p99_s else 1.0
        bars.append(Bar(name, what, speed, f"{speed:.3f} ({rate(row):.3g}/s)"))
        bars.append(Bar(name, "TTFT p99", wait, f"{wait:.2f} ({1000 * row.ttft_p99_s:,.0f} ms)"))
    most = min(MOST_RATIO, max(1.25, math.ceil(4 * max(bar.value for bar in bars)) / 4))
    title = f"{facts.workload}: ratio to {names(rows)[0]}"
    return bars_svg(title, bars, most=most, footer=[heading(facts), *notes])
