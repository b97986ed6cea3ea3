"""What the command lines of the benches share: options, bars, tables and files."""

import argparse
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

WIDEST = 1000
"""Columns of text that every table fits into."""


def positive(text: str) -> int:
    """The type of an option."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def command_line(program: str, arguments: Sequence[str]) -> str:
    """What to type to run it again."""
    return f"{program} {shlex.join(arguments)}".rstrip()


@contextmanager
def work_directory(chosen: Path | None) -> Iterator[Path]:
    """The chosen one, which stays, or a temporary one."""
    if chosen:
        yield chosen
        return
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[str], None]]:
    """A bar on stderr, if that is a terminal: called with what comes next, `total` times."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), "{task.description}")
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=total)
        started = 0

        def start(what: str) -> None:
            nonlocal started
            progress.update(task, completed=started, description=what)
            started += 1

        yield start


def a_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, num_left: int, title: str = ""
) -> Table:
    """Words to the left, in the first `num_left` columns; numbers to the right."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=title or None, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < num_left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def show(table: Table, footer: Sequence[str]) -> None:
    console = Console()
    whole = Measurement.get(console, console.options.update(width=WIDEST), table)
    console.width = max(console.width, whole.maximum)  # a line that wraps is better than no number
    console.print(table)
    print(*footer, "", sep="\n", flush=True)


def write_results(folder: Path, name: str, report: object, plots: dict[str, str]) -> None:
    """`name`.json, and each plot (name -> SVG)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    for plot, svg in plots.items():
        (folder / f"{plot}.svg").write_text(svg)
