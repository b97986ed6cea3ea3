"""The process of one engine: `python -m motet.bench.peers.measure TASK OUTCOME`, used by itself."""

import sys
import time
from pathlib import Path

import msgspec
import torch

from motet.bench.peers.engine import PeerEngine, Setup, Tokens
from motet.bench.peers.engines import ENGINES
from motet.bench.peers.outcome import Outcome, Task
from motet.bench.peers.workload import Workload, adapter_directory, model_directory
from motet.bench.random_model import RANKS


class MeasureError(Exception):
    """The engine did other work than it was asked for, so its time means nothing."""


def main() -> None:
    task_path, outcome_path = map(Path, sys.argv[1:])
    task = msgspec.json.decode(task_path.read_bytes(), type=Task)
    torch.set_num_threads(task.threads)
    try:
        outcome = measure(task)
    except Exception as error:  # of any engine, and each has its own: a line of the table
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        outcome = Outcome(task.engine, task.scenario, error=reason)
    outcome_path.write_bytes(msgspec.json.encode(outcome))


def measure(task: Task) -> Outcome:
    """Load, warm up, and time the rounds. Raises whatever the engine raises."""
    workload = task.workload
    adapters = workload.adapter_names(task.scenario)
    _say(task, "loading")
    engine = ENGINES[task.engine].load(_setup(task))
    _say(task, "warming up")
    _round(engine, workload, adapters, 0)
    seconds, tokens = [], []
    for number in range(1, workload.repeat + 1):
        taken_s, round_tokens = _round(engine, workload, adapters, number)
        seconds.append(taken_s)
        tokens.append(round_tokens)
        rate = workload.num_tokens / taken_s
        _say(task, f"round {number} of {workload.repeat}, {rate:,.1f} tokens/s")
    counts = engine.counts()
    if counts.prefix_hits:
        raise MeasureError(
            f"{counts.prefix_hits} prompt tokens came from the prefix cache: there should be none"
        )
    return Outcome(
        task.engine,
        task.scenario,
        seconds=tuple(seconds),
        tokens=tuple(tokens),
        prefix_hits=counts.prefix_hits,
        adapters_in_step=counts.adapters_in_step,
    )


def _setup(task: Task) -> Setup:
    workload, directory = task.workload, Path(task.directory)
    names = {name for name in workload.adapter_names(task.scenario) if name}
    return Setup(
        model=model_directory(directory),
        adapters={name: adapter_directory(directory, name) for name in sorted(names)},
        dtype=workload.dtype,
        device=task.device,
        max_model_len=workload.max_model_len,
        max_rank=max(RANKS),
    )


def _round(
    engine: PeerEngine, workload: Workload, adapters: list[str | None], number: int
) -> tuple[float, Tokens]:
    """Seconds and tokens of one round. Raises MeasureError unless every token is there."""
    prompts = workload.prompts(number)
    start_s = time.perf_counter()
    tokens = engine.generate(prompts, adapters, workload.output_len)
    taken_s = time.perf_counter() - start_s
    lengths = [len(ids) for ids in tokens]
    if lengths != [workload.output_len] * workload.num_prompts:
        raise MeasureError(
            f"{sum(lengths)} tokens for {len(lengths)} prompts came back: there should be "
            f"{workload.output_len} for each of {workload.num_prompts}"
        )
    return taken_s, tokens


def _say(task: Task, what: str) -> None:
    print(f"{task.engine}, {task.scenario}: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
