"""Engines that fail or stop end every stream, and say why."""

import asyncio
import threading

import pytest

from motet.engine.core import EngineCore
from motet.engine.engine import Engine, EngineStatus
from motet.engine.output import FinishReason
from motet.engine.plan import Batch, StepResult
from motet.errors import BrokenInvariant, EngineFailed, ModelError, Unavailable
from motet.memory.copy import Transfers
from tests.engine.engines import (
    a_core,
    a_gated_core,
    run,
    running,
    tokens_of,
)
from tests.engine.factories import (
    a_request,
)


class BrokenExecutor:
    def begin(self, transfers: Transfers) -> None:
        pass

    def execute(self, batch: Batch) -> StepResult:
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


def test_another_error_of_a_build_is_logged_whole(caplog: pytest.LogCaptureFixture) -> None:
    def build() -> EngineCore:
        raise MemoryError("no memory for weights")

    async def test() -> None:
        engine = Engine(build)
        engine.start()
        with pytest.raises(EngineFailed, match="MemoryError: no memory for weights"):
            await engine.ready()
        await engine.stop()

    run(test())
    assert "Traceback" in caplog.text


def test_stopping_ends_every_stream() -> None:
    async def test() -> None:
        core, gate = a_gated_core()
        async with running(core) as engine:
            stream = engine.generate(a_request(4, 200))
            first = asyncio.ensure_future(anext(stream))
            await gate.take(engine, 1)
            await first
            stopping = asyncio.ensure_future(engine.stop())
            await asyncio.sleep(0)  # it has begun
            gate.open()
            await stopping
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
        core, gate = a_gated_core()
        async with running(core) as engine:
            stream = engine.generate(a_request(4, 100, request_id="a"))
            first = asyncio.ensure_future(anext(stream))
            await gate.take(engine, 1)
            outputs = await first
            with pytest.raises(BrokenInvariant, match="not unique"):
                await tokens_of(engine, a_request(4, request_id="a"))
            gate.open()
            outputs += [output async for batch in stream for output in batch]
            assert len(outputs) == 100

    run(test())


def test_before_it_is_ready_the_engine_says_so() -> None:
    async def test() -> None:
        with pytest.raises(Unavailable, match="loading"):
            await tokens_of(Engine(a_core), a_request())

    run(test())
