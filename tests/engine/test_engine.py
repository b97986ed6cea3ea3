"""The engine thread as asyncio sees it: streams begin, end and are let go."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

import pytest

from motet.engine.core import EngineCore
from motet.engine.engine import Engine, EngineStatus
from motet.engine.executor import Executor
from motet.engine.fake import expected_tokens
from motet.engine.output import EngineInfo, FinishReason, TokenOutput
from motet.engine.plan import StepPlan, StepResult
from motet.engine.request import Request
from motet.errors import BrokenInvariant, ModelError, Unavailable
from tests.engine.factories import (
    PAGE_TOKENS,
    VOCAB_SIZE,
    a_request,
    a_scheduler,
    an_adapter,
    an_executor,
)


def a_core(executor: Executor | None = None) -> EngineCore:
    scheduler = a_scheduler(num_pages=64, adapters=[an_adapter()])
    info = EngineInfo(
        model="fake",
        architecture="FakeForCausalLM",
        dtype="float32",
        device="cpu",
        vocab_size=VOCAB_SIZE,
        max_model_len=256,
        eos_token_ids=(),
        max_lora_rank=8,
        max_batch_rows=8,
        max_batch_adapters=4,
        num_pages=64,
        page_bytes=1,
        page_tokens=PAGE_TOKENS,
        rank16_adapter_pages=4,
        adapters=(an_adapter(),),
    )
    return EngineCore(info, scheduler, executor or an_executor(scheduler))


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


async def tokens_of(engine: Engine, request: Request) -> list[TokenOutput]:
    return [output async for batch in engine.generate(request) for output in batch]


async def until_idle(engine: Engine, core: EngineCore) -> None:
    while core.scheduler.has_work:
        await asyncio.sleep(0.001)


def test_concurrent_streams_get_their_own_tokens() -> None:
    async def test() -> None:
        adapter = an_adapter()
        requests = [a_request(range(i, i + 9), 20, (None, adapter)[i % 2]) for i in range(8)]
        async with running(a_core()) as engine:
            streams = await asyncio.gather(*(tokens_of(engine, r) for r in requests))
        for request, outputs in zip(requests, streams, strict=True):
            digest = request.adapter.digest if request.adapter else None
            expected = expected_tokens(request.prompt, digest, 2, PAGE_TOKENS, VOCAB_SIZE)
            assert [output.token_id for output in outputs] == list(islice(expected, 20))
            assert [output.index for output in outputs] == list(range(20))
            assert outputs[-1].finish_reason is FinishReason.LENGTH

    run(test())


def test_a_slow_reader_gets_all_tokens_in_fewer_pieces() -> None:
    async def test() -> None:
        core = a_core()
        async with running(core) as engine:
            stream = engine.generate(a_request(4, 50))
            first = await anext(stream)
            await until_idle(engine, core)
            rest = [batch async for batch in stream]
        assert len(rest) < 5
        assert [output.index for batch in (first, *rest) for output in batch] == list(range(50))

    run(test())


@pytest.mark.parametrize("num_tokens", [0, 1, 5])
def test_a_stream_closed_early_returns_every_page(num_tokens: int) -> None:
    async def test() -> None:
        core = a_core()
        async with running(core) as engine:
            stream = engine.generate(a_request(9, 200, an_adapter()))
            first = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            if num_tokens == 0:
                first.cancel()
            num_received = 0
            while num_received < num_tokens:
                num_received += len(await (anext(stream) if num_received else first))
            await asyncio.wait([first])
            await stream.aclose()
            await until_idle(engine, core)
        core.scheduler.check()
        memory = core.scheduler.memory
        assert memory.pool.num_free + memory.num_idle_pages == memory.pool.num_pages

    run(test())


class BrokenExecutor:
    def execute(self, plan: StepPlan) -> StepResult:
        raise RuntimeError("the device is on fire")


def test_a_dead_engine_ends_every_stream_with_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with running(a_core(BrokenExecutor())) as engine:
            (output,) = await tokens_of(engine, a_request())
            assert output.finish_reason is FinishReason.ERROR
            assert "on fire" not in (output.error or "")
            assert engine.status is EngineStatus.FAILED
            with pytest.raises(Unavailable, match="failed"):
                await tokens_of(engine, a_request())

    run(test())
    assert "on fire" in caplog.text


def test_a_failed_build_is_raised_to_who_waits() -> None:
    def build() -> EngineCore:
        raise ModelError("no such model")

    async def test() -> None:
        engine = Engine(build)
        engine.start()
        with pytest.raises(ModelError, match="no such model"):
            await engine.ready()
        assert engine.status is EngineStatus.FAILED
        await engine.stop()

    run(test())


def test_stopping_ends_every_stream() -> None:
    async def test() -> None:
        engine = Engine(a_core)
        engine.start()
        await engine.ready()
        stream = engine.generate(a_request(4, 200))
        await anext(stream)
        await engine.stop()
        outputs = [output async for batch in stream for output in batch]
        assert outputs[-1].finish_reason is FinishReason.ABORT

    run(test())


def test_stopping_while_loading_tells_who_waits() -> None:
    async def test() -> None:
        is_stopped = threading.Event()

        def build() -> EngineCore:
            is_stopped.wait(10)
            return a_core()

        engine = Engine(build)
        engine.start()
        waiting = asyncio.create_task(engine.ready())
        await asyncio.sleep(0)
        await engine.stop()
        with pytest.raises(Unavailable, match="stopping"):
            await waiting
        is_stopped.set()

    run(test())


def test_a_request_id_in_use_harms_nobody() -> None:
    async def test() -> None:
        async with running(a_core()) as engine:
            stream = engine.generate(a_request(4, 100, request_id="a"))
            outputs = await anext(stream)
            with pytest.raises(BrokenInvariant, match="not unique"):
                await tokens_of(engine, a_request(4, request_id="a"))
            outputs += [output async for batch in stream for output in batch]
            assert len(outputs) == 100

    run(test())


def test_before_it_is_ready_the_engine_says_so() -> None:
    async def test() -> None:
        with pytest.raises(Unavailable, match="loading"):
            await tokens_of(Engine(a_core), a_request())

    run(test())
