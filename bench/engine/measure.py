"""What is measured of engines, each beside what it is compared with, in turns."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from statistics import median

import torch

from motet.bench.anonymous import anonymous_bytes
from motet.bench.engine.driver import Driver
from motet.bench.engine.scenario import Scenario, needed_adapters
from motet.bench.engine.setup import Setup
from motet.bench.random_model import DTYPES
from motet.engine.models import read_config, weights_bytes

OnStart = Callable[[str], None]
"""Called with what is measured next."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A scenario in every round."""

    scenario: Scenario
    decode_s: tuple[float, ...]
    """The median step of each round."""
    prefill_s: tuple[float, ...]
    """From handing over the prompts until every row has its first token."""


def measure_rounds(
    drivers: Sequence[Driver], scenarios: Sequence[Scenario], setup: Setup, repeat: int,
    on_start: OnStart,
) -> list[list[Measured]]:  # fmt: skip
    """What each engine takes, all scenarios in each round: what is compared runs close together."""
    todo = [(driver, scenario) for scenario in scenarios for driver in drivers]
    decode_s: dict[tuple[Driver, Scenario], list[float]] = {each: [] for each in todo}
    prefill_s: dict[tuple[Driver, Scenario], list[float]] = {each: [] for each in todo}
    for number in range(repeat):
        for driver, scenario in todo:
            on_start(f"round {number + 1}, {scenario}")
            taken_s = driver.start(scenario.adapters, setup.prompt_tokens)
            prefill_s[driver, scenario].append(taken_s)
            steps_s = [driver.step() for _ in range(setup.steps)]
            decode_s[driver, scenario].append(median(steps_s))
            driver.stop()
    return [
        [Measured(s, tuple(decode_s[driver, s]), tuple(prefill_s[driver, s])) for s in scenarios]
        for driver in drivers
    ]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Steps of two engines, taken in turn: `ours_s[i]` and `others_s[i]` are neighbours."""

    ours_s: tuple[float, ...]
    others_s: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median of those of neighbours: what disturbs the machine disturbs both."""
        return median(a / b for a, b in zip(self.ours_s, self.others_s, strict=True))


def measure_pairs(
    ours: Driver, other: Driver, scenario: Scenario, setup: Setup, num_pairs: int,
    on_start: OnStart,
) -> Pairs:  # fmt: skip
    """Decode steps of the scenario on both."""
    seconds: dict[Driver, list[float]] = {ours: [], other: []}
    for driver in seconds:
        driver.start(scenario.adapters, setup.prompt_tokens)
    for number in range(num_pairs):
        on_start(f"pairs of steps, {scenario}")
        for driver in (ours, other) if number % 2 else (other, ours):  # neither is always first
            seconds[driver].append(driver.step())
    for driver in seconds:
        driver.stop()
    return Pairs(tuple(seconds[ours]), tuple(seconds[other]))


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a process that serves and does nothing else."""

    scenario: Scenario
    anonymous_bytes: int
    weight_bytes: int
    pool_bytes: int
    """Only the pages in use: of all others the system has given nothing yet."""

    @property
    def rest_bytes(self) -> int:
        return self.anonymous_bytes - self.weight_bytes - self.pool_bytes


def measure_memory(setup: Setup, scenario: Scenario) -> Memory:
    """In a new process, which has no other memory."""
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawning) as process:
        return process.submit(_memory, setup, scenario).result()


def _memory(setup: Setup, scenario: Scenario) -> Memory:
    core = setup.engine(needed_adapters([scenario]))
    driver = Driver(core)
    driver.start(scenario.adapters, setup.prompt_tokens)
    for _ in range(setup.steps):
        driver.step()
    spec, stats = read_config(str(setup.model)), core.scheduler.stats()
    return Memory(
        scenario,
        anonymous_bytes(os.getpid()),
        weights_bytes(spec, DTYPES[setup.dtype], torch.device("cpu")),
        (core.info.num_pages - stats.pages_free) * core.info.page_bytes,
    )


@dataclass(frozen=True, slots=True)
class StepWork:
    """The least that a decode step must do, whatever else it does."""

    weight_bytes: int
    """Of all matrices, each read once; of the embedding only some rows are."""
    flops_per_row: int
    """Of the products with them."""

    @classmethod
    def of(cls, setup: Setup) -> "StepWork":
        spec = read_config(str(setup.model))
        each = sum(module.in_features * module.out_features for module in spec.layer_modules)
        elements = spec.num_layers * each + spec.num_token_ids * spec.hidden_size
        return cls(elements * DTYPES[setup.dtype].itemsize, 2 * elements)
