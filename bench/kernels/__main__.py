"""`python -m motet.bench.kernels`: times every kernel and shows what share of the bound it is."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from motet.bench.command import command_line, positive, progress_bar, show, write_results
from motet.bench.kernels.cases import KINDS, Case, cases
from motet.bench.kernels.report import KernelReport, Timing
from motet.bench.kernels.setting import Setting
from motet.bench.machine import this_machine
from motet.bench.peaks import measure_peaks
from motet.bench.random_model import DTYPES, SHAPES
from motet.bench.timing import median_s
from motet.kernels.cpu.compiler import NotCompiled
from motet.kernels.cpu.native import Library

PROGRAM = "python -m motet.bench.kernels"
BACKENDS = ("cpu", "reference")
BUDGET_S, SHORT_BUDGET_S = 1.0, 0.2
"""Of timed calls, for each case and backend."""


def main(arguments: Sequence[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    options = parser.parse_args(arguments)
    if "cpu" in options.backend:
        try:
            Library.load()
        except NotCompiled as error:
            parser.error(f"{error}: choose --backend reference")
    torch.set_num_threads(options.threads)
    dtypes = {name: DTYPES[name] for name in options.dtype}
    peaks = measure_peaks({"float32": torch.float32} | dtypes)
    report = KernelReport(
        machine=this_machine(),
        threads=options.threads,
        command=command_line(PROGRAM, arguments),
        peaks=peaks,
        backends=tuple(options.backend),
        timings=_timings(options, dtypes),
    )
    for dtype in dtypes:
        show(report.table(dtype), report.footer())
    if options.output:
        write_results(options.output, "kernels", report, {"kernels": report.plot()})


def _timings(options: argparse.Namespace, dtypes: dict[str, torch.dtype]) -> tuple[Timing, ...]:
    todo = [
        (kernel, dtype, build)
        for dtype, torch_dtype in dtypes.items()
        for kernel, build in cases(
            Setting(SHAPES[options.shape], torch_dtype), options.kernels, is_short=options.short
        )
    ]
    budget_s = SHORT_BUDGET_S if options.short else BUDGET_S
    timings = []
    with progress_bar(len(todo)) as start, torch.inference_mode():
        for kernel, dtype, build in todo:
            start(f"{kernel}, {dtype}")
            case = build()
            seconds = _seconds(case, options.backend, budget_s)
            timings.append(Timing(kernel, case.shape, dtype, case.num_bytes, case.flops, seconds))
    return tuple(timings)


def _seconds(case: Case, backends: Sequence[str], budget_s: float) -> dict[str, float]:
    return {backend: median_s(case.calls(backend), budget_s) for backend in backends}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Time each kernel beside what memory and processor allow, both measured.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--backend", nargs="+", choices=BACKENDS, default=list(BACKENDS), help="which to time")
    add("--kernels", nargs="+", choices=KINDS, default=list(KINDS), help="which to time")
    add("--shape", choices=SHAPES, default="246m", help="whose sizes")
    add("--dtype", nargs="+", choices=DTYPES, default=[this_machine().dtype], help="of elements")
    add("--threads", type=positive, default=torch.get_num_threads(), help="of every kernel")
    add("--short", action="store_true", help="fewer shapes and repeats")
    add("--output", type=Path, metavar="DIR", help="write kernels.json and kernels.svg here")
    return parser


if __name__ == "__main__":
    main()
