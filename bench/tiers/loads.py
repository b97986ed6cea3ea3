"""Requests that decode on one adapter while others are loaded without end: how late their tokens
are, beside nobody and beside the same requests on an adapter that is there."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from motet.bench.random_model import DTYPES
from motet.bench.tiers.adapters import write_adapters
from motet.bench.tiers.finding import Finding, PartReport
from motet.bench.tiers.model import LargeModel
from motet.engine import Adapter, Engine, EngineStats, Request, SamplingParams
from motet.engine.config import PoolConfig

GOAL = 1.1
LINK_GBPS = 8.0
MAX_MODEL_LEN = 1024
PROMPT_TOKENS, SHORT_PROMPT_TOKENS = 16, 1
"""Of hot requests; of all others, so that steps are as long as without them."""

ON_DEVICE, ON_HOST = 4, 8
"""Adapters that there is room for, the one of the hot requests among them."""

NUM_NEAR = 6
"""Cold adapters that stay on the host: their loads need no disk."""


@dataclass(frozen=True, slots=True)
class Sizes:
    num_cold: int = 24
    """Adapters, in random order: some of them are found on the host, some on the disk alone."""
    rank: int = 64
    num_hot: int = 8
    """Requests."""
    num_tokens: int = 200
    """Of each of them in a phase."""
    num_rounds: int = 5
    """Of four phases."""
    in_flight: int = 1
    """Cold requests at a time: each loads, has its token, and the next one comes."""


FULL, SHORT = Sizes(), Sizes(num_rounds=2, num_tokens=60, num_cold=12)


@dataclass(slots=True)
class Phases:
    """All phases of one kind."""

    gaps_s: list[float] = field(default_factory=list)
    """From a token of a hot request to its next."""
    others: int = 0
    """Requests that were answered beside them."""
    duration_s: float = 0.0
    num_loads: int = 0
    num_reads: int = 0
    loaded_pages: int = 0

    def percentile_ms(self, percent: float) -> float:
        return 1000 * float(np.percentile(self.gaps_s, percent))

    def cells(self) -> str:
        return f"{self.percentile_ms(99):.1f} ms (median {self.percentile_ms(50):.1f})"


def measure(sizes: Sizes, directory: Path, shape: str, dtype: str, threads: int) -> PartReport:
    model = LargeModel(directory / "model", shape, dtype, threads, MAX_MODEL_LEN)
    names = write_adapters(
        directory / "adapters",
        model.write(),
        DTYPES[dtype],
        num_adapters=2 + sizes.num_cold,
        num_distinct=2 + sizes.num_cold,
        rank=sizes.rank,
    )
    bench = _Bench(model, directory / "adapters", names, sizes)
    kinds = asyncio.run(bench.run())
    alone, warm, near, far = (kinds[kind] for kind in ("alone", "warm", "near", "far"))
    return PartReport(
        f"hot requests during cold loads, simulated link of {LINK_GBPS:g} Gb/s ({model})",
        [
            _finding("inter-token p99, loads from the host, beside nobody", near, alone),
            _finding("the same, loads from disk and host", far, alone),
            Finding(
                "the same, beside as many requests on a resident adapter",
                far.cells(),
                warm.cells(),
                f"{far.percentile_ms(99) / warm.percentile_ms(99):.3f} x",
            ),
        ],
        [
            f"{sizes.num_rounds} rounds in turns, {sizes.num_hot} requests x {sizes.num_tokens} "
            "tokens",
            _loaded("host", near, bench.page_bytes),
            _loaded("disk and host", far, bench.page_bytes),
        ],
    )


def _loaded(source: str, phases: Phases, page_bytes: int) -> str:
    rate = phases.loaded_pages * page_bytes / phases.duration_s / 1e6
    return (
        f"from {source}: of {phases.others} cold requests in {phases.duration_s:.1f} s "
        f"{phases.num_loads} loaded, {phases.num_reads} of them from disk: {rate:,.0f} MB/s on the "
        "simulated link"
    )


def _finding(what: str, cold: Phases, other: Phases) -> Finding:
    ratio = cold.percentile_ms(99) / other.percentile_ms(99)
    is_reached = ratio <= GOAL
    return Finding(what, cold.cells(), other.cells(), f"{ratio:.3f} x", f"<= {GOAL} x", is_reached)


class _Bench:
    """One engine, and requests on it."""

    def __init__(self, model: LargeModel, adapters: Path, names: list[str], sizes: Sizes) -> None:
        blueprint = model.blueprint
        self.page_bytes = blueprint.layout.page_bytes
        self._sizes = sizes
        self._rng = random.Random(0)
        self._ids = count()
        self._vocab_size = blueprint.spec.num_token_ids
        given = [(name, str(adapters / name)) for name in names]
        size = (adapters / names[0] / "adapter_model.safetensors").stat().st_size
        adapter_pages = -(-size // self.page_bytes) + 2
        row_pages = -(-(PROMPT_TOKENS + sizes.num_tokens) // blueprint.layout.page_tokens) + 1
        num_pages = ON_DEVICE * adapter_pages + (sizes.num_hot + sizes.in_flight) * row_pages
        num_pages = max(num_pages, MAX_MODEL_LEN // blueprint.layout.page_tokens)
        pool = PoolConfig(
            pool_bytes=num_pages * self.page_bytes,
            host_bytes=ON_HOST * adapter_pages * self.page_bytes,
            link_gbps=LINK_GBPS,
        )
        self._engine = Engine(lambda: model.engine(pool, given))

    async def run(self) -> dict[str, Phases]:
        self._engine.start()
        info = await self._engine.ready()
        hot, resident, *cold = info.adapters
        kinds = {kind: Phases() for kind in ("alone", "near", "far", "warm")}
        await self._phase(Phases(), hot, [self._cold(Phases(), cold)])  # untimed
        for _ in range(self._sizes.num_rounds):
            await self._phase(kinds["alone"], hot, [])
            near = cold[:NUM_NEAR]
            for adapter in near:
                await self._answer(adapter)  # so that the host has it
            for kind, adapters in (("near", near), ("far", cold)):
                streams = [self._cold(kinds[kind], adapters) for _ in range(self._sizes.in_flight)]
                await self._phase(kinds[kind], hot, streams)
            every_s = kinds["far"].duration_s / max(1, kinds["far"].others)
            await self._answer(resident)  # so that it is there
            await self._phase(kinds["warm"], hot, [self._warm(kinds["warm"], resident, every_s)])
        await self._engine.stop()
        return kinds

    async def _phase(
        self, phases: Phases, hot: Adapter, beside: list[Coroutine[Any, Any, None]]
    ) -> None:
        """Hot requests from their first tokens to their ends, beside what goes on meanwhile."""
        num_first = [asyncio.Event() for _ in range(self._sizes.num_hot)]
        running = [asyncio.create_task(self._hot(phases, hot, event)) for event in num_first]
        for event in num_first:
            await event.wait()
        before, start_s = self._engine.stats, time.perf_counter()
        async with _going_on(beside):
            await asyncio.gather(*running)
        phases.duration_s += time.perf_counter() - start_s
        _add(phases, before, self._engine.stats)

    async def _hot(self, phases: Phases, adapter: Adapter, has_begun: asyncio.Event) -> None:
        times_s: list[float] = []
        request = self._request(PROMPT_TOKENS, self._sizes.num_tokens, adapter)
        async for outputs in self._engine.generate(request):
            times_s += [time.perf_counter()] * len(outputs)
            has_begun.set()
        phases.gaps_s += [later - earlier for earlier, later in pairwise(times_s)]

    async def _cold(self, phases: Phases, adapters: list[Adapter]) -> None:
        """One after the other for ever, each of them random."""
        while True:
            await self._answer(self._rng.choice(adapters))
            phases.others += 1

    async def _warm(self, phases: Phases, adapter: Adapter, every_s: float) -> None:
        """As often for ever."""
        while True:
            _, _ = await asyncio.gather(self._answer(adapter), asyncio.sleep(every_s))
            phases.others += 1

    async def _answer(self, adapter: Adapter) -> None:
        async for outputs in self._engine.generate(self._request(SHORT_PROMPT_TOKENS, 1, adapter)):
            for output in outputs:
                assert output.error is None, output.error

    def _request(self, prompt_tokens: int, num_tokens: int, adapter: Adapter) -> Request:
        prompt = tuple(self._rng.choices(range(self._vocab_size), k=prompt_tokens))
        sampling = SamplingParams(num_tokens, temperature=0)
        return Request(f"{next(self._ids)}", prompt, sampling, adapter)


@asynccontextmanager
async def _going_on(streams: list[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """They run beside what is inside, and end with it."""
    tasks = [asyncio.create_task(stream) for stream in streams]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(ended, asyncio.CancelledError):
                raise ended or AssertionError("a stream without an end has ended")


def _add(phases: Phases, before: EngineStats, after: EngineStats) -> None:
    phases.num_loads += after.adapter_loads - before.adapter_loads
    phases.num_reads += after.adapter_reads - before.adapter_reads
    phases.loaded_pages += after.loaded_pages - before.loaded_pages
