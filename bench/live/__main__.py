"""`python -m motet.bench.live`: agents on a real engine, beside what a replay says of them."""

import argparse
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from rich.table import Table

from motet import demo
from motet.bench.command import (
    a_table,
    command_line,
    positive,
    progress_bar,
    show,
    work_directory,
)
from motet.bench.live.fit import fit
from motet.bench.live.world import Times, World
from motet.bench.machine import this_machine
from motet.bench.random_model import DTYPES, SHAPES, write_model
from motet.bench.replay.arm import Arm
from motet.bench.replay.config import WORKLOADS
from motet.bench.replay.costs import COST_MODELS, StepWork
from motet.client.workloads import generate_trace

PROGRAM = "python -m motet.bench.live"
MAX_POSITIONS = 8192

ARMS = (
    Arm("lru", prefetch=False),
    Arm("lru", prefetch=True),
    Arm("distance_cost", prefetch=False),
    Arm("distance_cost", prefetch=True),
)

COLUMNS = (
    *("live\nsteps/s", "ratio", "replay\nsteps/s", "ratio", "live by\nreplay"),
    *("compute s\nlive", "\nreplay", "stall s\nlive", "\nreplay"),
    *("TTFT p99 s\nlive", "\nreplay", "KV found\nlive", "\nreplay"),
    *("MB in\nlive", "\nreplay", "ahead\nlive", "\nreplay"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    trace = generate_trace(
        options.workload, agents=options.agents, steps=options.steps, seed=options.seed
    )
    with work_directory(options.directory) as directory:
        world = World(
            trace=trace,
            model=directory / "model" if options.shape else demo.MODEL,
            adapters=directory / "adapters",
            cost_model=options.cost_model,
            dtype=options.dtype,
            threads=options.threads,
            pool_ratio=options.pool_ratio,
            page_tokens=options.page_tokens,
            link_gbps=options.link_gbps,
        )
        if options.shape:
            write_model(world.model, SHAPES[options.shape], MAX_POSITIONS, DTYPES[options.dtype])
        world.write_adapters()
        live, steps = _live(world)
        replayed = [world.replay(arm) for arm in ARMS]
        num_pages = world.setting.num_pages
    footer = [
        f"{options.workload}: {len(trace.calls)} calls in {options.steps} steps, "
        f"{len(trace.header.adapters)} adapters; {options.shape or 'demo'}, {options.dtype}, "
        f"{num_pages} pages of {options.page_tokens} tokens, simulated link of "
        f"{options.link_gbps:g} Gb/s; replayed with the machine of {options.cost_model}",
        f"{len(steps):,} steps speak for: {fit(steps)}",
        command_line(PROGRAM, arguments),
        this_machine().line(options.threads),
    ]
    show(_table(live, replayed, options.steps), footer)


def _live(world: World) -> tuple[list[Times], list[tuple[StepWork, float]]]:
    """Each arm in a process of its own, and the steps of all."""
    times: list[Times] = []
    steps: list[tuple[StepWork, float]] = []
    spawn = multiprocessing.get_context("spawn")
    with progress_bar(len(ARMS)) as start:
        for arm in ARMS:
            start(str(arm))
            with ProcessPoolExecutor(1, mp_context=spawn) as alone:
                its_times, its_steps = alone.submit(world.live, arm).result()
            times.append(its_times)
            steps += its_steps
    return times, steps


def _table(live: Sequence[Times], replayed: Sequence[Times], num_steps: int) -> Table:
    rows = []
    for arm, real, virtual in zip(ARMS, live, replayed, strict=True):
        cells = [
            str(arm),
            f"{num_steps / real.makespan_s:.3f}",
            f"{live[0].makespan_s / real.makespan_s:.3f}",
            f"{num_steps / virtual.makespan_s:.3f}",
            f"{replayed[0].makespan_s / virtual.makespan_s:.3f}",
            f"{virtual.makespan_s / real.makespan_s:.3f}",
        ]
        for times in zip(_facts(real), _facts(virtual), strict=True):
            cells += times
        rows.append(cells)
    return a_table(("policy", *COLUMNS), rows, num_left=1)


def _facts(times: Times) -> tuple[str, ...]:
    return (
        f"{times.busy_s:.1f}",
        f"{times.stall_s:.1f}",
        f"{times.ttft_p99_s:.2f}",
        f"{times.found_share:.1%}",
        f"{times.loaded_bytes / 1e6:,.0f}",
        f"{times.copies_ahead:,}",
    )


def _parser() -> argparse.ArgumentParser:
    machine = this_machine()
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Run agents on a real engine, and replay them on a model of the machine.",
    )
    add = parser.add_argument
    add("--workload", choices=WORKLOADS, default="independent", help="one that has agents")
    add("--agents", type=positive, default=40, help="of the workload")
    add("--steps", type=positive, default=30, help="of the workload")
    add("--seed", type=int, default=0, help="of the workload")
    add("--shape", choices=SHAPES, help="of a model with random weights; default: the demo")
    add("--dtype", choices=DTYPES, default=machine.dtype, help="of weights and KV")
    add("--threads", type=positive, default=torch.get_num_threads(), help="that compute")
    add("--pool-ratio", type=float, default=0.2, help="of all state")
    add("--page-tokens", type=positive, default=64, help="of a page")
    add("--link-gbps", type=float, default=1.0, help="of the simulated link, each way")
    add(
        "--cost-model", choices=COST_MODELS, default="cpu-250m", help="whose machine replays run on"
    )
    add("--directory", type=Path, help="where files go and stay; else a temporary one")
    return parser


if __name__ == "__main__":
    main()
