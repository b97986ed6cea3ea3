"""Engines on the token-hash model, in a thread of their own."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from motet.engine.core import EngineCore
from motet.engine.engine import Engine
from motet.engine.executor import Executor
from motet.engine.inbox import Inbox
from motet.engine.output import TokenOutput
from motet.engine.plan import Batch, StepResult
from motet.engine.request import Request
from motet.memory.adapter import Adapter
from motet.memory.copy import Transfers
from tests.engine.factories import (
    a_scheduler,
    an_adapter,
    an_executor,
    an_info,
)


def a_core(executor: Executor | None = None, on_disk: Iterable[Adapter] = ()) -> EngineCore:
    """With one adapter on the host, and others that may be registered."""
    scheduler, inbox = a_scheduler(num_pages=64, adapters=[an_adapter()]), Inbox()
    if executor is None:
        executor = an_executor(scheduler, inbox)
        for adapter in on_disk:
            assert adapter.digest is not None
            executor.disk.put(adapter.path, adapter.digest, adapter.num_pages)
    return EngineCore(an_info(), scheduler, executor, inbox)


class Gate:
    """An executor that takes a step only when it may."""

    def __init__(self, core: EngineCore) -> None:
        self._executor = core.executor
        self._steps = threading.Semaphore(0)

    def begin(self, transfers: Transfers) -> None:
        self._executor.begin(transfers)

    def execute(self, batch: Batch) -> StepResult:
        self._steps.acquire()
        return self._executor.execute(batch)

    async def take(self, engine: Engine, num_steps: int) -> None:
        """Let it take so many steps, and wait until the loop has heard of them."""
        goal = engine.stats.steps + num_steps
        self._steps.release(num_steps)
        while engine.stats.steps < goal:
            await asyncio.sleep(0.001)

    def open(self) -> None:
        self._steps.release(10_000)


def a_gated_core() -> tuple[EngineCore, Gate]:
    core = a_core()
    gate = Gate(core)
    return replace(core, executor=gate), gate


@asynccontextmanager
async def running(core: EngineCore) -> AsyncIterator[Engine]:
    engine = Engine(lambda: core)
    engine.start()
    await engine.ready()
    try:
        yield engine
    finally:
        await engine.stop()


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, timeout=30))


async def tokens_of(engine: Engine, *requests: Request) -> list[TokenOutput]:
    return [output async for batch in engine.generate(*requests) for output in batch]


async def until_idle(engine: Engine, core: EngineCore) -> None:
    while core.scheduler.has_work:
        await asyncio.sleep(0.001)


def by_request(outputs: Iterable[TokenOutput]) -> dict[str, list[TokenOutput]]:
    told: dict[str, list[TokenOutput]] = {}
    for output in outputs:
        told.setdefault(output.request_id, []).append(output)
    return told
