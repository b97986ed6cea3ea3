"""`python -m motet.bench.peers`: writes the workload, runs the engines in turn, shows the table."""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import torch
from rich.console import Console
from transformers.utils.logging import disable_progress_bar

from motet.bench.peers import measure
from motet.bench.peers.engines import ENGINES, NOT_COMPARED, installed_version
from motet.bench.peers.machine import this_machine
from motet.bench.peers.outcome import Outcome, Task
from motet.bench.peers.report import Report
from motet.bench.peers.workload import DTYPES, SHAPES, Workload, write_workload
from motet.errors import ConfigError

TABLE_WIDTH = 100
"""Columns of text that show the table without cutting a number."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 if an engine failed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    machine = this_machine()
    try:
        workload = Workload(
            shape=options.shape,
            num_prompts=options.num_prompts,
            input_len=options.input_len,
            output_len=options.output_len,
            num_adapters=options.num_adapters,
            repeat=options.repeat,
            dtype=machine.dtype if options.dtype == "auto" else options.dtype,
        )
    except ConfigError as error:
        parser.error(str(error))
    versions = {name: installed_version(name) for name in ("torch", *ENGINES)}
    missing = {name: "not installed" for name in options.engines if versions[name] is None}
    with _work_directory(options.directory) as directory:
        _say(f"writing the model and {workload.num_adapters} adapters to {directory}")
        if not sys.stderr.isatty():
            disable_progress_bar()  # type: ignore[no-untyped-call]
        write_workload(workload, directory)
        outcomes = tuple(
            run(Task(name, scenario, workload, str(directory), machine.device, options.threads))
            for name in options.engines
            if name not in missing
            for scenario in ENGINES[name].scenarios
        )
    report = Report(
        machine=machine,
        threads=options.threads,
        workload=workload,
        versions={name: number for name, number in versions.items() if number},
        outcomes=outcomes,
        notes=missing | NOT_COMPARED,
    )
    _show(report, is_markdown=options.markdown)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    return int(any(outcome.error for outcome in outcomes))


def run(task: Task) -> Outcome:
    """Do the task in a new process and wait for it. Whatever happens there is an outcome."""
    with tempfile.TemporaryDirectory() as directory:
        task_path, outcome_path = Path(directory, "task.json"), Path(directory, "outcome.json")
        task_path.write_bytes(msgspec.json.encode(task))
        command = [sys.executable, "-m", measure.__name__, str(task_path), str(outcome_path)]
        environment = os.environ | {
            "OMP_NUM_THREADS": str(task.threads),
            "PYTHONWARNINGS": "ignore::FutureWarning",  # of the libraries about each other
        }
        status = subprocess.run(command, env=environment, stdout=sys.stderr).returncode
        if outcome_path.exists():
            return msgspec.json.decode(outcome_path.read_bytes(), type=Outcome)
    return Outcome(task.engine, task.scenario, error=f"its process ended with status {status}")


def _show(report: Report, *, is_markdown: bool) -> None:
    if is_markdown:
        print(report.markdown())
        return
    print(*report.header(), sep="\n")
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)
    console.print(report.table())
    print(*report.footer(), sep="\n")


@contextmanager
def _work_directory(chosen: Path | None) -> Iterator[Path]:
    """The chosen one, which stays, or a temporary one."""
    if chosen:
        yield chosen
        return
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m motet.bench.peers",
        description="Compare motet with its peers on this machine, each alone in its process.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), help="which to run")
    add("--shape", choices=SHAPES, default="246m", help="which model to make")
    add("--dtype", choices=("auto", *DTYPES), default="auto", help="auto: the device's fastest")
    add("--num-prompts", type=_positive, default=32, help="requests at once")
    add("--input-len", type=_positive, default=128, help="tokens of each prompt")
    add("--output-len", type=_positive, default=64, help="tokens of each answer, exactly")
    add("--num-adapters", type=_positive, default=16, help="adapters of the mixed scenario")
    add("--repeat", type=_positive, default=3, help="timed rounds")
    add("--threads", type=_positive, default=torch.get_num_threads(), help="of every engine")
    add("--directory", type=Path, help="where model and adapters go and stay; else a temporary one")
    add("--json", type=Path, metavar="FILE", help="write all that was found here")
    add("--markdown", action="store_true", help="print the table as Markdown")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
