"""`python -m motet.bench.peers`: writes the workload, runs the engines in turn, shows the table."""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import torch

from motet.bench.anonymous import wait_watching
from motet.bench.command import command_line, positive, show, work_directory
from motet.bench.machine import this_machine
from motet.bench.peers import measure
from motet.bench.peers.engines import ENGINES, NOT_COMPARED, installed_version
from motet.bench.peers.outcome import Outcome, Task
from motet.bench.peers.report import Report
from motet.bench.peers.workload import Workload, write_workload
from motet.bench.random_model import DTYPES, SHAPES
from motet.errors import ConfigError

PROGRAM = "python -m motet.bench.peers"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 if an engine failed."""
    parser = _parser()
    arguments = sys.argv[1:] if arguments is None else arguments
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
    with work_directory(options.directory) as directory:
        _say(f"writing the model and {workload.num_adapters} adapters to {directory}")
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
        command=command_line(PROGRAM, arguments),
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
        process = subprocess.Popen(command, env=environment, stdout=sys.stderr)
        peak_bytes = wait_watching(process)
        if outcome_path.exists():
            outcome = msgspec.json.decode(outcome_path.read_bytes(), type=Outcome)
            return replace(outcome, peak_bytes=peak_bytes)
    error = f"its process ended with status {process.returncode}"
    return Outcome(task.engine, task.scenario, error=error)


def _show(report: Report, *, is_markdown: bool) -> None:
    if is_markdown:
        print(report.markdown())
        return
    print(*report.header(), sep="\n")
    show(report.table(), report.footer())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Compare motet with its peers on this machine, each alone in its process.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), help="which to run")
    add("--shape", choices=SHAPES, default="246m", help="which model to make")
    add("--dtype", choices=("auto", *DTYPES), default="auto", help="of weights and products")
    add("--num-prompts", type=positive, default=32, help="requests at once")
    add("--input-len", type=positive, default=128, help="tokens of each prompt")
    add("--output-len", type=positive, default=64, help="tokens of each answer, exactly")
    add("--num-adapters", type=positive, default=16, help="adapters of the mixed scenario")
    add("--repeat", type=positive, default=3, help="timed rounds")
    add("--threads", type=positive, default=torch.get_num_threads(), help="of every engine")
    add("--directory", type=Path, help="where model and adapters go and stay; else a temporary one")
    add("--json", type=Path, metavar="FILE", help="write all that was found here")
    add("--markdown", action="store_true", help="print the table as Markdown")
    return parser


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
