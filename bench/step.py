"""What a step costs beside the kernels: a decode of a full batch, and a burst of arrivals.

Run as `python -m motet.bench.step`. The goal is 1 ms for plan and handle together at 256 rows.
"""

import time
from statistics import median

import torch

from motet.engine.config import BatchConfig
from motet.engine.device.buffers import StepBuffers
from motet.engine.events import AdapterRegistered, Arrived, StepFinished
from motet.engine.plan import SampledToken, StepPlan, StepResult
from motet.engine.policy import FirstComeFirstServed
from motet.engine.request import Request, SamplingParams
from motet.engine.scheduler import Scheduler
from motet.memory.adapter import Adapter
from motet.memory.eviction import LeastRecentlyUsed
from motet.memory.manager import MemoryManager

NUM_ROWS = 256
NUM_ADAPTERS = 32
PROMPT_TOKENS, SHORT_PROMPT_TOKENS = 1000, 16
NUM_STEPS = 300
NUM_BURSTS = 10

LIMITS = BatchConfig(max_batch_tokens=8192, max_batch_rows=NUM_ROWS)
MAX_MODEL_LEN = 4096
PAGE_TOKENS = 16


def main() -> None:
    _print_decode()
    _print_burst()


def _print_decode() -> None:
    scheduler = _full_batch()
    buffers = StepBuffers(LIMITS, MAX_MODEL_LEN, PAGE_TOKENS, torch.device("cpu"))
    plan_ms, inputs_ms, handle_ms = [], [], []
    for _ in range(NUM_STEPS):
        start_s = time.perf_counter()
        plan = scheduler.plan(0.0)
        planned_s = time.perf_counter()
        buffers.fill(plan.batch)
        filled_s = time.perf_counter()
        result = _result(plan)
        executed_s = time.perf_counter()
        scheduler.handle(StepFinished(result, 0.0))
        handle_ms.append(1000 * (time.perf_counter() - executed_s))
        inputs_ms.append(1000 * (filled_s - planned_s))
        plan_ms.append(1000 * (planned_s - start_s))
    print(
        f"{NUM_ROWS} decode rows of {PROMPT_TOKENS} and more tokens on {NUM_ADAPTERS} adapters: "
        f"plan {median(plan_ms):.2f} ms, handle {median(handle_ms):.2f} ms, tensors "
        f"{median(inputs_ms):.2f} ms (medians of {NUM_STEPS})"
    )


def _print_burst() -> None:
    plan_ms = []
    for _ in range(NUM_BURSTS):
        scheduler = _a_scheduler()
        _arrive(scheduler, NUM_ROWS, SHORT_PROMPT_TOKENS)
        start_s = time.perf_counter()
        scheduler.plan(0.0)
        plan_ms.append(1000 * (time.perf_counter() - start_s))
    print(
        f"{NUM_ROWS} requests of {SHORT_PROMPT_TOKENS} tokens that arrive together: "
        f"plan {median(plan_ms):.2f} ms (median of {NUM_BURSTS})"
    )


def _a_scheduler() -> Scheduler:
    memory = MemoryManager(32_768, PAGE_TOKENS, "base", LeastRecentlyUsed())
    return Scheduler(LIMITS, MAX_MODEL_LEN, memory, FirstComeFirstServed())


def _arrive(scheduler: Scheduler, num_requests: int, prompt_tokens: int) -> None:
    """Requests that share no prefix, spread over the adapters."""
    adapters = [Adapter(f"a{i}", f"digest-{i}", 1, 16, 20) for i in range(NUM_ADAPTERS)]
    for adapter in adapters:
        scheduler.handle(AdapterRegistered(adapter))
    sampling = SamplingParams(max_tokens=2 * NUM_STEPS)
    for number in range(num_requests):
        prompt = tuple(range(number, number + prompt_tokens))
        request = Request(f"{number}", prompt, sampling, adapters[number % NUM_ADAPTERS])
        scheduler.handle(Arrived(request, 0.0))


def _full_batch() -> Scheduler:
    """Every row decodes; more requests wait."""
    scheduler = _a_scheduler()
    _arrive(scheduler, 2 * NUM_ROWS, PROMPT_TOKENS)
    is_decoding = False
    while not is_decoding:
        plan = scheduler.plan(0.0)
        rows = plan.batch.rows
        scheduler.handle(StepFinished(_result(plan), 0.0))
        is_decoding = len(rows) == NUM_ROWS and all(len(row.tokens) == 1 for row in rows)
    return scheduler


def _result(plan: StepPlan) -> StepResult:
    rows = [row for row in plan.batch.rows if row.sampling]
    tokens = tuple(SampledToken(row.request_id, 1) for row in rows)
    return StepResult(plan.step, tokens, tuple(load.digest for load in plan.transfers))


if __name__ == "__main__":
    main()
