"""What a step costs beside the kernels: full batches, bursts, and crowds that wait.

Run as `python -m motet.bench.step`. The goal is 1 ms for plan and handle together at 256 rows.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch

from motet.engine.config import BatchConfig
from motet.engine.device.buffers import StepBuffers
from motet.engine.messages import Aborted, Arrived, StepFinished
from motet.engine.plan import SampledToken, StepPlan, StepResult
from motet.engine.recording import SchedulerSpec
from motet.engine.request import Request, SamplingParams
from motet.engine.scheduler import Scheduler
from motet.memory.adapter import Adapter, AdapterContent
from motet.memory.copy import CopyEnded, ReadEnded
from motet.memory.page import PageOwner

NUM_ROWS = 256
NUM_ADAPTERS = 32
NUM_WAITING = 10_000
PROMPT_TOKENS, SHORT_PROMPT_TOKENS = 1000, 16
LONG_PREFIX_TOKENS, LARGE_PROMPT_TOKENS = 128_000, 100_000
NUM_STEPS = 300
NUM_BURSTS = 10

LIMITS = BatchConfig(max_batch_tokens=8192, max_batch_rows=NUM_ROWS)
MAX_MODEL_LEN = 300_000
PAGE_TOKENS = 16
NUM_PAGES, NUM_HOST_PAGES = 65_536, 16_384

ADAPTERS = tuple(
    Adapter(f"a{i}", f"digest-{i}", 1, 16, 20, f"/a{i}") for i in range(2 * NUM_ADAPTERS)
)
ON_DISK = {a.path: AdapterContent(a.max_rank, a.num_pages, a.digest) for a in ADAPTERS}
SAMPLING = SamplingParams(max_tokens=4 * NUM_STEPS)


def main() -> None:
    _print_decode()
    _print_burst()
    for what, make in CROWDS.items():
        plan_ms, handle_ms = _steps(make())
        print(
            f"{NUM_ROWS} decode rows, {what}: plan {plan_ms:.2f} ms, handle {handle_ms:.2f} ms "
            f"(medians of {NUM_STEPS})"
        )


def _print_decode() -> None:
    scheduler = _running(LIMITS)
    plan_ms, handle_ms = _steps(scheduler)
    buffers = StepBuffers(LIMITS, MAX_MODEL_LEN, PAGE_TOKENS, torch.device("cpu"))
    inputs_ms = []
    for _ in range(NUM_STEPS):
        plan = scheduler.plan()
        start_s = time.perf_counter()
        buffers.fill(plan.batch)
        inputs_ms.append(1000 * (time.perf_counter() - start_s))
        scheduler.handle(StepFinished(result_of(plan), 0.0))
    print(
        f"{NUM_ROWS} decode rows of {PROMPT_TOKENS} and more tokens on {NUM_ADAPTERS} adapters: "
        f"plan {plan_ms:.2f} ms, handle {handle_ms:.2f} ms, tensors {median(inputs_ms):.2f} ms "
        f"(medians of {NUM_STEPS})"
    )


def _print_burst() -> None:
    plan_ms = []
    for _ in range(NUM_BURSTS):
        scheduler = _a_scheduler(LIMITS)
        _arrive(scheduler, NUM_ROWS, SHORT_PROMPT_TOKENS, num_adapters=0)
        start_s = time.perf_counter()
        scheduler.plan()
        plan_ms.append(1000 * (time.perf_counter() - start_s))
    print(
        f"{NUM_ROWS} requests of {SHORT_PROMPT_TOKENS} tokens that arrive together: "
        f"plan {median(plan_ms):.2f} ms (median of {NUM_BURSTS})"
    )


# Crowds that wait: the rows of the batch are the same, and nobody else can begin.


def _short_of_rows() -> Scheduler:
    scheduler = _running(LIMITS)
    _arrive(scheduler, NUM_WAITING, SHORT_PROMPT_TOKENS)
    return scheduler


def _behind_a_large_one() -> Scheduler:
    """The first that waits does not fit; rows are left."""
    scheduler = _running(replace(LIMITS, max_batch_rows=NUM_ROWS + 8))
    _take_pages(scheduler)
    _arrive(scheduler, 1, LARGE_PROMPT_TOKENS, num_adapters=0)
    _arrive(scheduler, NUM_WAITING, SHORT_PROMPT_TOKENS)
    return scheduler


def _short_of_slots() -> Scheduler:
    limits = replace(LIMITS, max_batch_rows=NUM_ROWS + 8, max_batch_adapters=NUM_ADAPTERS)
    scheduler = _running(limits)
    _arrive(scheduler, NUM_WAITING, SHORT_PROMPT_TOKENS, first_adapter=NUM_ADAPTERS)
    return scheduler


def _behind_a_long_prefix() -> Scheduler:
    """The first that waits has a prefix of 128,000 tokens in the cache, and does not fit."""
    scheduler = _running(replace(LIMITS, max_batch_rows=NUM_ROWS + 8))
    prompt = tuple(range(LONG_PREFIX_TOKENS))
    scheduler.handle(Arrived(Request("long", prompt, SAMPLING), 0.0))
    while any(sequence.num_pending > 1 for sequence in scheduler.running):
        _step(scheduler)
    scheduler.handle(Aborted("long"))
    _take_pages(scheduler)
    longer = (*prompt, *range(LARGE_PROMPT_TOKENS))
    scheduler.handle(Arrived(Request("longer", longer, SAMPLING), 0.0))
    _arrive(scheduler, NUM_WAITING, SHORT_PROMPT_TOKENS)
    return scheduler


CROWDS: dict[str, Callable[[], Scheduler]] = {
    f"{NUM_WAITING:,} wait for a row": _short_of_rows,
    f"{NUM_WAITING:,} wait behind one that does not fit": _behind_a_large_one,
    f"{NUM_WAITING:,} wait for a slot": _short_of_slots,
    f"the first that waits has {LONG_PREFIX_TOKENS:,} tokens in the cache": _behind_a_long_prefix,
}


def _a_scheduler(limits: BatchConfig) -> Scheduler:
    spec = SchedulerSpec(
        batch=limits,
        max_model_len=MAX_MODEL_LEN,
        num_pages=NUM_PAGES,
        page_tokens=PAGE_TOKENS,
        base_model="base",
        adapters=ADAPTERS,
        num_host_pages=NUM_HOST_PAGES,
    )
    return spec.make()


def _arrive(
    scheduler: Scheduler,
    num_requests: int,
    prompt_tokens: int,
    num_adapters: int = NUM_ADAPTERS,
    first_adapter: int = 0,
) -> None:
    """Requests that share no prefix, spread over the adapters (0: on the base model)."""
    first = scheduler.stats().num_waiting + len(scheduler.running)
    for number in range(first, first + num_requests):
        prompt = tuple(range(number, number + prompt_tokens))
        adapter = ADAPTERS[first_adapter + number % num_adapters] if num_adapters else None
        scheduler.handle(Arrived(Request(f"{number}", prompt, SAMPLING, adapter), 0.0))


def _running(limits: BatchConfig) -> Scheduler:
    """Every one of the rows decodes."""
    scheduler = _a_scheduler(limits)
    _arrive(scheduler, NUM_ROWS, PROMPT_TOKENS)
    while len(scheduler.running) < NUM_ROWS or any(s.num_pending > 1 for s in scheduler.running):
        _step(scheduler)
    return scheduler


def _take_pages(scheduler: Scheduler) -> None:
    """Leave free what those who run will need, and not much more: as if others had the rest."""
    pool = scheduler.memory.room.pool
    num_spare = 5 * NUM_ROWS * NUM_STEPS // (4 * PAGE_TOKENS)
    pool.reserve(pool.num_free - num_spare, PageOwner.QUARANTINED)


def _steps(scheduler: Scheduler) -> tuple[float, float]:
    """Median milliseconds of plan and of handle. Nobody comes and nobody ends."""
    num_running = len(scheduler.running)
    plan_ms, handle_ms = [], []
    for _ in range(NUM_STEPS):
        start_s = time.perf_counter()
        plan = scheduler.plan()
        plan_ms.append(1000 * (time.perf_counter() - start_s))
        result = result_of(plan)
        start_s = time.perf_counter()
        scheduler.handle(StepFinished(result, 0.0))
        handle_ms.append(1000 * (time.perf_counter() - start_s))
    assert len(scheduler.running) == num_running
    return median(plan_ms), median(handle_ms)


def _step(scheduler: Scheduler) -> None:
    plan = scheduler.plan()
    if plan.batch.rows:
        scheduler.handle(StepFinished(result_of(plan), 0.0))
    for copy in plan.transfers.copies:
        scheduler.handle(CopyEnded(copy.ticket, len(copy.pages)))
    for read in plan.transfers.reads:
        scheduler.handle(ReadEnded(read.ticket, ON_DISK[read.path]))


def result_of(plan: StepPlan) -> StepResult:
    rows = [row for row in plan.batch.rows if row.sampling]
    return StepResult(plan.batch.step, tuple(SampledToken(row.request_id, 1) for row in rows))


if __name__ == "__main__":
    main()
