"""`python -m motet.bench.engine`: times the engine without a server, shows what adapters cost."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from motet.bench.command import (
    command_line,
    positive,
    progress_bar,
    show,
    work_directory,
    write_results,
)
from motet.bench.engine.driver import Driver
from motet.bench.engine.measure import StepWork, measure_memory, measure_pairs, measure_rounds
from motet.bench.engine.report import EngineReport
from motet.bench.engine.scenario import KINDS, MIXED, Scenario, needed_adapters, scenarios
from motet.bench.engine.setup import Setup
from motet.bench.machine import this_machine
from motet.bench.peaks import measure_peaks
from motet.bench.random_model import DTYPES, SHAPES, write_model
from motet.engine.config import BatchConfig

PROGRAM = "python -m motet.bench.engine"
GIB = 1024**3
MAX_POSITIONS = 2048
MAX_RANK = BatchConfig().max_lora_rank
CHECKED = Scenario(32, 16, MIXED)
"""Of the memory; as many base rows are compared with an engine without adapters."""
ALIKE = [Scenario(32, 16, "16", kind) for kind in KINDS]
"""Adapters of every kind, compared with plain ones."""

DEFAULTS: dict[str, tuple[Any, Any]] = {
    "rows": ([1, 8, 32, 128], [1, 32]),
    "adapters": ([1, 16], [16]),
    "ranks": (["8", "16", "64", MIXED], [MIXED]),
    "steps": (16, 8),
    "repeat": (3, 2),
    "pairs": (100, 20),
}
"""Option -> its value in a full run, and in a short one."""


def main(arguments: Sequence[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    with work_directory(options.directory) as directory:
        report = _report(options, directory, command_line(PROGRAM, arguments))
    show(report.table(), [])
    show(report.check_table(), report.footer())
    if options.output:
        write_results(options.output, "engine", report, report.plots())


def _report(options: argparse.Namespace, directory: Path, command: str) -> EngineReport:
    setup = Setup(
        model=options.model or directory / "model",
        directory=directory / "adapters",
        dtype=options.dtype,
        pool_bytes=options.pool_bytes,
        threads=options.threads,
        prompt_tokens=options.prompt_tokens,
        steps=options.steps,
    )
    todo = scenarios(options.rows, options.adapters, options.ranks)
    needed = needed_adapters([*todo, CHECKED, *ALIKE])
    if options.model is None:
        _say(f"writing a model of {options.shape} to {directory}")
        write_model(setup.model, SHAPES[options.shape], MAX_POSITIONS, DTYPES[options.dtype])
    _say(f"writing {len(needed)} adapters")
    setup.write_adapters(needed)
    _say("measuring what the machine can do")
    peaks = measure_peaks({name: DTYPES[name] for name in dict.fromkeys(["float32", setup.dtype])})
    _say("measuring memory, in a process of its own")
    memory = measure_memory(setup, CHECKED)
    _say("loading engines: with adapters, without, and deterministic")
    engine, bare = Driver(setup.engine(needed)), Driver(setup.engine(()))
    exact = Driver(setup.engine(needed, is_deterministic=True))
    both = [CHECKED.base, CHECKED]
    total = options.pairs + options.repeat * (len(todo) + 2 * len(both) + len(ALIKE))
    with progress_bar(total) as on_start:
        pairs = measure_pairs(engine, bare, CHECKED.base, setup, options.pairs, on_start)
        [measured] = measure_rounds([engine], todo, setup, options.repeat, on_start)
        [alike] = measure_rounds([engine], ALIKE, setup, options.repeat, on_start)
        modes = measure_rounds([engine, exact], both, setup, options.repeat, on_start)
    return EngineReport(
        machine=this_machine(),
        threads=options.threads,
        command=command,
        model=str(options.model or options.shape),
        dtype=setup.dtype,
        prompt_tokens=setup.prompt_tokens,
        peaks=peaks,
        work=StepWork.of(setup),
        measured=tuple(measured),
        switched_off=pairs,
        pair_rows=CHECKED.num_rows,
        alike=tuple(alike),
        modes=tuple(zip(*modes, strict=True)),
        memory=memory,
        prefix_hits=engine.prefix_hits + bare.prefix_hits,
    )


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    """With what `--short` or its absence means filled in."""
    options = _parser().parse_args(arguments)
    for name, (full, short) in DEFAULTS.items():
        if getattr(options, name) is None:
            setattr(options, name, short if options.short else full)
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Time decode steps and prefills by rows, adapters and ranks."
    )
    add = parser.add_argument
    add("--model", type=Path, metavar="DIR", help="of a model; else one is made")
    add("--shape", choices=SHAPES, default="246m", help="of the model that is made")
    add("--dtype", choices=DTYPES, default=this_machine().dtype, help="of weights, KV and adapters")
    add("--rows", nargs="+", type=positive, help="in a batch, one number or several")
    add("--adapters", nargs="+", type=positive, help="in a batch")
    add("--ranks", nargs="+", type=_rank, metavar="RANK", help=f"1 to {MAX_RANK}, or mixed")
    add("--prompt-tokens", type=positive, default=64, help="of each row")
    add("--steps", type=positive, help="decode steps after each prefill")
    add("--repeat", type=positive, help="rounds of all scenarios")
    add("--pairs", type=positive, help="steps of two engines, taken in turn")
    add("--pool-bytes", type=positive, default=2 * GIB, help="of each engine")
    add("--threads", type=positive, default=torch.get_num_threads(), help="of each engine")
    add("--short", action="store_true", help="fewer scenarios and rounds: two minutes")
    add("--directory", type=Path, help="where model and adapters go and stay; else a temporary one")
    add("--output", type=Path, metavar="DIR", help="write engine.json and two plots here")
    return parser


def _rank(text: str) -> str:
    if text != MIXED and not (text.isdecimal() and 1 <= int(text) <= MAX_RANK):
        raise argparse.ArgumentTypeError(f"'{text}' is neither {MIXED} nor 1 to {MAX_RANK}")
    return text


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
