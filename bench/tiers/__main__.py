"""`python -m motet.bench.tiers`: state larger than the device, each number beside its goal."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from motet.bench.command import command_line, positive, show, work_directory
from motet.bench.machine import this_machine
from motet.bench.random_model import DTYPES, SHAPES
from motet.bench.tiers import loads, mix, registered, returns, unload
from motet.bench.tiers.finding import PartReport

PROGRAM = "python -m motet.bench.tiers"

Part = Callable[[argparse.Namespace, Path], PartReport]
"""Measures in an empty directory."""


def _registered(options: argparse.Namespace, directory: Path) -> PartReport:
    return registered.measure(registered.SHORT if options.short else registered.FULL, directory)


def _mix(options: argparse.Namespace, directory: Path) -> PartReport:
    return mix.measure(mix.SHORT if options.short else mix.FULL, directory)


def _loads(options: argparse.Namespace, directory: Path) -> PartReport:
    sizes = loads.SHORT if options.short else loads.FULL
    return loads.measure(sizes, directory, options.shape, options.dtype, options.threads)


def _returns(options: argparse.Namespace, directory: Path) -> PartReport:
    sizes = returns.SHORT if options.short else returns.FULL
    return returns.measure(sizes, directory, options.shape, options.dtype, options.threads)


def _unload(options: argparse.Namespace, directory: Path) -> PartReport:
    return unload.measure(unload.SHORT if options.short else unload.FULL, directory)


PARTS: dict[str, Part] = {
    "registered": _registered,
    "mix": _mix,
    "loads": _loads,
    "returns": _returns,
    "unload": _unload,
}


def main(arguments: Sequence[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    with work_directory(options.directory) as directory:
        for name in dict.fromkeys(options.part or PARTS):
            print(f"measuring {name}", file=sys.stderr, flush=True)
            where = directory / name
            where.mkdir(parents=True)
            start_s = time.perf_counter()
            report = PARTS[name](options, where)
            duration = f"{name}: {time.perf_counter() - start_s:.0f} s"
            show(report.table(), [*report.notes, duration])
    print(command_line(PROGRAM, arguments), this_machine().line(options.threads), sep="\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Measure what tiers of memory and many adapters cost."
    )
    add = parser.add_argument
    add("--part", action="append", choices=PARTS, help="only this one; repeatable")
    add("--short", action="store_true", help="fewer rounds: two minutes")
    add("--shape", choices=SHAPES, default="246m", help="of the model of loads and returns")
    add("--dtype", choices=DTYPES, default=this_machine().dtype, help="of loads and returns")
    add("--threads", type=positive, default=torch.get_num_threads(), help="of loads and returns")
    add("--directory", type=Path, help="where files go and stay; else a temporary one")
    return parser


if __name__ == "__main__":
    main()
