"""`motet replay`: reads or makes a trace, runs the arms side by side, shows what came of it."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

import motet
from motet.bench.command import command_line, show
from motet.bench.replay import report as reports
from motet.bench.replay import sweep as sweeps
from motet.bench.replay.config import ArmsConfig, SettingConfig, TraceConfig
from motet.bench.replay.processes import run_jobs
from motet.bench.replay.setting import check_arm, setting_of, trace_of
from motet.client.workloads.trace import write_trace
from motet.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Files:
    """What to read and what to write."""

    trace: Path | None
    json: Path | None = None
    plot: Path | None = None
    write_trace: Path | None = None

    def check(self) -> None:
        """Raises ConfigError before anything is computed."""
        for name in ("json", "plot", "write_trace"):
            path = getattr(self, name)
            if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
                flag = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{flag} is {path}: give a file in a directory that exists")


class SweepReport(Struct, frozen=True, kw_only=True):
    """Everything that a sweep found."""

    motet: str = motet.__version__
    machine: str
    command: str
    cost_model: reports.CostFacts
    points: list[sweeps.PointRows]


def run_replay(
    trace: TraceConfig, setting: SettingConfig, arms: ArmsConfig, files: Files, sweep: Sequence[str]
) -> None:
    """Raises ConfigError for what cannot be run, EngineFailed where an arm fails."""
    files.check()
    if sweep:
        _run_sweep(trace, setting, arms, files, sweep)
        return
    given = trace_of(trace, files.trace)
    if files.write_trace is not None:
        write_trace(given, files.write_trace)
    common = setting_of(given, setting, trace.seed or 0)
    for arm in arms.arms:
        check_arm(common, arm)
    with _bars([str(arm) for arm in arms.arms]) as progress:
        rows = run_jobs([(common, arm) for arm in arms.arms], arms.num_jobs, progress)
    facts, cost = reports.trace_facts(common), reports.cost_facts(setting.cost_model, common)
    command = _command()
    print(reports.heading(facts))
    show(reports.time_table(rows), [])
    show(reports.move_table(rows), [])
    reports.show_bars(rows)
    print(*reports.footer(cost, command), sep="\n")
    if files.json is not None:
        _write(
            files.json,
            _encoded(
                reports.Report(
                    machine=_machine(), command=command, trace=facts, cost_model=cost, rows=rows
                )
            ),
        )
    if files.plot is not None:
        svg = reports.plot(facts, rows, reports.footer(cost, command))
        _write(files.plot, svg.encode())


def _run_sweep(
    trace: TraceConfig, setting: SettingConfig, arms: ArmsConfig, files: Files, sweep: Sequence[str]
) -> None:
    for name, flag in (("plot", "--plot"), ("write_trace", "--write-trace")):
        if getattr(files, name) is not None:
            raise ConfigError(f"{flag} is of one trace: leave it out, or --sweep")
    points = sweeps.points_of(sweep)
    settings = sweeps.settings_of(points, trace, setting, files.trace)
    jobs = [(each, arm) for each in settings for arm in sweeps.ARMS]
    labels = [f"{sweeps.facts_of(point)} {arm}" for point in points for arm in sweeps.ARMS]
    with _bars(labels) as progress:
        rows = run_jobs(jobs, arms.num_jobs, progress)
    found = sweeps.rows_by_point(points, settings, rows)
    cost = reports.cost_facts(setting.cost_model, settings[0])
    command = _command()
    print(
        f"{settings[0].trace.header.workload}: how much faster than lru without prefetch "
        "distance_cost with prefetch is, and belady, which knows the truth"
    )
    show(sweeps.sweep_table(found), reports.footer(cost, command))
    if files.json is not None:
        report = SweepReport(machine=_machine(), command=command, cost_model=cost, points=found)
        _write(files.json, _encoded(report))


@contextmanager
def _bars(labels: Sequence[str]) -> Iterator[Callable[[int, float], None]]:
    """One for each row, on stderr, if that is a terminal."""
    columns = ("{task.description}", BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        tasks = [bars.add_task(label, total=1.0) for label in labels]
        yield lambda index, share: bars.update(tasks[index], completed=share)


def _command() -> str:
    return command_line("motet", sys.argv[1:])


def _machine() -> str:
    from motet.bench.machine import this_machine  # takes seconds

    return this_machine().line(1)


def _encoded(report: Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(report)) + b"\n"


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
