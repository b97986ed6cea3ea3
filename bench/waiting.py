"""Who waits for copies that others need: the real loop, with an executor of known times.

Run as `python -m motet.bench.waiting`. Steps and copies sleep; everything between is the engine.
The goals: a base request that arrives during the load of another's adapter gets its token within
30 ms, and 64 adapters that load leave requests on a resident one within 3 % of their tokens.
"""

import asyncio
import queue
import threading
import time
from dataclasses import dataclass
from statistics import median

from motet.engine import Adapter, Engine, EngineInfo, Request, SamplingParams
from motet.engine.config import BatchConfig
from motet.engine.core import EngineCore
from motet.engine.inbox import Inbox
from motet.engine.plan import Batch, SampledToken, StepResult
from motet.engine.recording import SchedulerSpec
from motet.memory.adapter import AdapterContent
from motet.memory.copy import Copy, CopyEnded, ReadEnded, Transfers

STEP_S = 0.010
NUM_COLD, NUM_HOT = 64, 8
ADAPTER_PAGES = 8
LATE_LOAD_S, ARRIVES_AFTER_S = 0.5, 0.05
COLD_LOAD_S = 0.03
LOADING_S = NUM_COLD * COLD_LOAD_S
NUM_ROUNDS = 5

ADAPTERS = tuple(
    Adapter(f"a{i}", f"digest-{i}", 1, 8, ADAPTER_PAGES, f"/a{i}") for i in range(1 + NUM_COLD)
)
HOT, *COLD = ADAPTERS
ON_DISK = {a.path: AdapterContent(a.max_rank, a.num_pages, a.digest) for a in ADAPTERS}


@dataclass(slots=True)
class SleepingExecutor:
    """Each step sleeps in the engine's thread, each copy in one of its own. Reads take no time."""

    inbox: Inbox
    copy_s: float
    _copies: "queue.SimpleQueue[Copy]"

    @classmethod
    def start(cls, inbox: Inbox, copy_s: float) -> "SleepingExecutor":
        executor = cls(inbox, copy_s, queue.SimpleQueue())
        threading.Thread(target=executor._copy, daemon=True).start()
        return executor

    def begin(self, transfers: Transfers) -> None:
        for copy in transfers.copies:
            self._copies.put(copy)
        for read in transfers.reads:
            self.inbox.put(ReadEnded(read.ticket, ON_DISK[read.path]))

    def execute(self, batch: Batch) -> StepResult:
        time.sleep(STEP_S)
        rows = [row for row in batch.rows if row.sampling]
        return StepResult(batch.step, tuple(SampledToken(row.request_id, 1) for row in rows))

    def _copy(self) -> None:
        while True:
            copy = self._copies.get()
            time.sleep(self.copy_s)
            self.inbox.put(CopyEnded(copy.ticket, len(copy.pages)))


def main() -> None:
    delays_ms = [1000 * asyncio.run(_delay_s()) for _ in range(NUM_ROUNDS)]
    print(
        f"a base request {1000 * ARRIVES_AFTER_S:.0f} ms into another's load of "
        f"{1000 * LATE_LOAD_S:.0f} ms: first token after {max(delays_ms):.1f} ms, of which a step "
        f"takes {1000 * STEP_S:.0f} (largest of {NUM_ROUNDS})"
    )
    ratios = [
        asyncio.run(_hot_tokens(NUM_COLD)) / asyncio.run(_hot_tokens(0)) for _ in range(NUM_ROUNDS)
    ]
    print(
        f"{NUM_HOT} requests on a resident adapter while {NUM_COLD} others load: "
        f"{median(ratios):.3f} of the tokens they get alone (median of {NUM_ROUNDS})"
    )


async def _delay_s() -> float:
    """From the arrival of a base request to its token."""
    engine = await _engine(LATE_LOAD_S)
    loading = asyncio.create_task(_generate(engine, "loads", 1, COLD[0]))
    await asyncio.sleep(ARRIVES_AFTER_S)
    start_s = time.perf_counter()
    await _generate(engine, "base", 1)
    delay_s = time.perf_counter() - start_s
    await loading
    await engine.stop()
    return delay_s


async def _hot_tokens(num_cold: int) -> int:
    """Tokens on the resident adapter in the time that the others take to load."""
    engine = await _engine(COLD_LOAD_S)
    await _generate(engine, "first", 1, HOT)
    counts = [0] * NUM_HOT

    async def hot(number: int) -> None:
        async for outputs in engine.generate(_request(f"hot-{number}", 4096, HOT)):
            counts[number] += len(outputs)

    running = [asyncio.create_task(hot(number)) for number in range(NUM_HOT)]
    while not all(counts):
        await asyncio.sleep(STEP_S)
    before = sum(counts)
    cold = [
        asyncio.create_task(_generate(engine, adapter.name, 1, adapter))
        for adapter in COLD[:num_cold]
    ]
    await asyncio.sleep(LOADING_S)
    num_tokens = sum(counts) - before
    await engine.stop()
    await asyncio.gather(*running, *cold, return_exceptions=True)
    return num_tokens


async def _engine(copy_s: float) -> Engine:
    engine = Engine(lambda: _core(copy_s))
    engine.start()
    await engine.ready()
    return engine


async def _generate(
    engine: Engine, request_id: str, num_tokens: int, adapter: Adapter | None = None
) -> None:
    async for _ in engine.generate(_request(request_id, num_tokens, adapter)):
        pass


def _request(request_id: str, num_tokens: int, adapter: Adapter | None) -> Request:
    return Request(request_id, (1, 2, 3), SamplingParams(num_tokens), adapter)


def _core(copy_s: float) -> EngineCore:
    batch = BatchConfig(max_batch_adapters=1 + NUM_COLD)
    num_host_pages = len(ADAPTERS) * ADAPTER_PAGES
    spec = SchedulerSpec(batch, 8192, 8192, 16, "base", ADAPTERS, num_host_pages)
    info = EngineInfo(
        model="none",
        architecture="none",
        dtype="float32",
        device="cpu",
        vocab_size=2,
        max_model_len=spec.max_model_len,
        eos_token_ids=(),
        max_lora_rank=batch.max_lora_rank,
        max_batch_rows=batch.max_batch_rows,
        max_batch_adapters=batch.max_batch_adapters,
        num_pages=spec.num_pages,
        page_bytes=1,
        page_tokens=spec.page_tokens,
        rank16_adapter_pages=ADAPTER_PAGES,
        adapters=ADAPTERS,
    )
    inbox = Inbox()
    return EngineCore(info, spec.make(), SleepingExecutor.start(inbox, copy_s), inbox)


if __name__ == "__main__":
    main()
