"""How true `cpu-250m` is: steps of a real engine, what follows from them, and a real run beside its
replay.

Run as `python -m motet.bench.replay.calibrate`, on a machine that does nothing else.
"""

import os
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random
from statistics import median

import torch

from motet.bench.engine.driver import Driver
from motet.bench.engine.setup import Setup
from motet.bench.machine import this_machine
from motet.bench.random_model import DTYPES, SHAPES, AdapterKind, write_model
from motet.bench.replay.announced import TENANT, Announcements, Gaps
from motet.bench.replay.arm import Arm
from motet.bench.replay.costs import COST_MODELS, GB, CostModel, Machine
from motet.bench.replay.run import Run, Setting
from motet.bench.replay.state import TraceState
from motet.client.workloads import Trace, generate_trace
from motet.client.workloads.trace import Call, Passage
from motet.engine.config import BatchConfig, EngineConfig, ModelConfig, PoolConfig
from motet.engine.core import EngineCore
from motet.engine.messages import Arrived, Message, PushDistances, TickAgents
from motet.engine.messages import Call as Command
from motet.engine.request import Request, SamplingParams
from motet.engine.start.build import build

NAME, SHAPE = "cpu-250m", "246m"
PAGE_TOKENS = 64
LINK_GBPS = 1.0
POOL_RATIO, HOST_RATIO = 0.4, 1.5
MAX_POSITIONS = 2048
BATCH = BatchConfig()
STEPS = 6
"""Timed of each kind."""
FEW, MANY = 1, 8
"""Rows of decode steps."""
SHORT, LONG = 256, 1024
"""Tokens of prompts."""


def main() -> None:
    threads = len(os.sched_getaffinity(0))
    machine = this_machine()
    dtype = "bfloat16" if COST_MODELS[NAME].model.element_bytes == 2 else "float32"
    trace = generate_trace(
        *("independent",),
        **{"agents": 24, "steps": 6, "activity": 0.3, "prefix_tokens": 192},
        **{"min_output": 16, "max_output": 32},
    )
    with tempfile.TemporaryDirectory() as directory:
        model = Path(directory, "model")
        write_model(model, SHAPES[SHAPE], MAX_POSITIONS, DTYPES[dtype])
        setup = Setup(model, Path(directory), dtype, 2**30, threads, LONG, STEPS)
        setup.write_adapters(
            {name: AdapterKind(shape.rank) for name, shape in trace.header.adapters.items()}
        )
        fitted = fit(setup, list(trace.header.adapters), COST_MODELS[NAME])
        print(f"{machine.line(threads)}; {dtype}")
        print(f"fitted: {fitted}")
        for arm in (Arm("lru", prefetch=False), Arm("distance_cost", prefetch=True)):
            _compare(trace, arm, setup, fitted)


def fit(setup: Setup, adapters: list[str], known: CostModel) -> Machine:
    """The constants of a machine, from a few steps."""
    driver = Driver(setup.engine(adapters[:MANY]))
    driver.start([None], SHORT)  # the first is slow
    driver.stop()
    token_s = (_prompt_s(driver, LONG) - _prompt_s(driver, SHORT)) / (LONG - SHORT)
    one_s = _step_s(driver, [None] * FEW)
    many_s = _step_s(driver, [None] * MANY)
    adapters_s = _step_s(driver, list(adapters[:MANY]))
    model, step_s = known.model, known.machine.step_s
    row_s = (many_s - one_s) / (MANY - FEW)
    read_s = max(one_s - step_s - row_s, 1e-4)
    return replace(
        known.machine,
        flops=2 * model.parameters / token_s,
        memory_gbs=model.element_bytes * model.parameters / read_s / GB,
        row_s=row_s,
        adapter_s=max(0.0, (adapters_s - many_s) / MANY),
        link_gbs=LINK_GBPS / 8,
    )


def _prompt_s(driver: Driver, num_tokens: int) -> float:
    times = []
    for _ in range(3):
        times.append(driver.start([None], num_tokens))
        driver.stop()
    return median(times)


def _step_s(driver: Driver, adapters: list[str | None]) -> float:
    driver.start(adapters, SHORT)
    times = [driver.step() for _ in range(STEPS)]
    driver.stop()
    return median(times)


def _compare(trace: Trace, arm: Arm, setup: Setup, fitted: Machine) -> None:
    """Print how long the run takes, and how long its replay says."""
    known = COST_MODELS[NAME]
    state = TraceState(trace, known, PAGE_TOKENS)
    num_pages, num_host_pages = (
        max(int(ratio * state.num_pages), state.largest_pages) for ratio in (POOL_RATIO, HOST_RATIO)
    )
    measured_s = _RealRun(trace, arm, state, _engine(setup, trace, arm, num_pages, num_host_pages))
    measured = measured_s.seconds()
    for name, machine in (("committed", known.machine), ("fitted now", fitted)):
        cost = CostModel(known.model, machine)
        setting = Setting(trace, cost, state, PAGE_TOKENS, num_pages, num_host_pages, BATCH)
        modelled = Run(setting, arm).go().makespan_s
        print(
            f"{arm}: measured {measured:.2f} s, {NAME} as {name} {modelled:.2f} s: "
            f"{measured / modelled:.2f}"
        )


def _engine(
    setup: Setup, trace: Trace, arm: Arm, num_pages: int, num_host_pages: int
) -> EngineCore:
    page_bytes = COST_MODELS[NAME].model.layout(PAGE_TOKENS).page_bytes
    torch.set_num_threads(setup.threads)
    pool = PoolConfig(
        pool_bytes=num_pages * page_bytes,
        host_bytes=num_host_pages * page_bytes,
        page_tokens=PAGE_TOKENS,
        link_gbps=LINK_GBPS,
        eviction=arm.eviction,
        prefetch="on" if arm.prefetch else "off",
    )
    config = EngineConfig(
        model=str(setup.model),
        adapters=tuple((name, str(setup.directory / name)) for name in trace.header.adapters),
        model_config=ModelConfig(dtype=setup.dtype),
        pool=pool,
        batch=BATCH,
    )
    return build(config, lambda *_: None)


class _RealRun:
    """A stepped trace on a real engine, in lock-step as in `Run`. Answers are the model's own, so
    prompts must not repeat them."""

    def __init__(self, trace: Trace, arm: Arm, state: TraceState, core: EngineCore) -> None:
        self._trace = trace
        self._core = core
        self._announced = Announcements(arm, state, Gaps.of(trace.calls), Random(0))
        self._adapters = {adapter.name: adapter for adapter in core.info.adapters}
        self._command_ids = count()
        self._unfinished: set[str] = set()

    def seconds(self) -> float:
        calls: defaultdict[int, list[Call]] = defaultdict(list)
        for call in self._trace.calls:
            calls[call.step or 0].append(call)
        pushes = {push.push: push for push in self._trace.pushes}
        began_s = time.perf_counter()
        for step in range(self._trace.header.steps or 0):
            if step in pushes:
                distances = self._announced.push(pushes[step])
                self._tell(PushDistances(TENANT, distances))
            for call in calls[step]:
                self._arrive(call)
            while self._unfinished:
                self._turn()
            self._tell(TickAgents(TENANT))
        return time.perf_counter() - began_s

    def _arrive(self, call: Call) -> None:
        request_id = str(call.call_id)
        self._unfinished.add(request_id)
        request = Request(
            request_id,
            tuple(token for passage in call.prompt for token in self._tokens(passage)),
            SamplingParams(max_tokens=call.output.num_tokens, temperature=0.0),
            self._adapters[call.adapter] if call.adapter else None,
            agent=self._announced.with_call(call),
        )
        self._put(Arrived(request, time.perf_counter()))

    def _turn(self) -> None:
        now = time.perf_counter()
        messages = self._core.take(now)
        for output in self._core.turn(messages, time.perf_counter()).outputs:
            assert output.error is None, output.error
            if output.finish_reason is not None:
                self._unfinished.discard(output.request_id)

    def _tokens(self, passage: Passage) -> list[int]:
        random, size = Random(passage.hash_id), self._core.info.vocab_size
        return [random.randrange(size) for _ in range(passage.num_tokens)]

    def _tell(self, command: PushDistances | TickAgents) -> None:
        self._put(Command(next(self._command_ids), command))

    def _put(self, message: Message) -> None:
        self._core.inbox.put(message)


if __name__ == "__main__":
    main()
