"""The engine thread as asyncio sees it: streams begin, end and are let go."""

import asyncio
import time
from itertools import islice

import pytest

from motet.engine.engine import EngineStatus
from motet.engine.fake.token_hash import expected_tokens
from motet.engine.messages import RegisterAdapter
from motet.engine.output import FinishReason
from motet.errors import BrokenInvariant, MotetError, Unavailable
from tests.engine.engines import (
    a_core,
    a_gated_core,
    by_request,
    run,
    running,
    tokens_of,
    until_idle,
)
from tests.engine.factories import (
    PAGE_TOKENS,
    VOCAB_SIZE,
    a_request,
    an_adapter,
)


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
        room = core.scheduler.memory.room
        assert room.pool.num_free + room.num_idle_pages == room.pool.num_pages

    run(test())


def test_one_stream_carries_all_tokens_of_several_requests() -> None:
    async def test() -> None:
        requests = [a_request(range(i, i + 5), 3 + i, num_prompt_logprobs=0) for i in range(12)]
        async with running(a_core()) as engine:
            told = by_request(await tokens_of(engine, *requests))
            assert engine.num_waiting == 0
        assert told.keys() == {request.request_id for request in requests}
        for number, request in enumerate(requests):
            outputs = told[request.request_id]
            expected = expected_tokens(request.prompt, None, 0, PAGE_TOKENS, VOCAB_SIZE)
            assert [o.token_id for o in outputs] == list(islice(expected, 3 + number))
            assert [o.index for o in outputs] == list(range(3 + number))
            assert [len(o.prompt_logprobs) for o in outputs] == [4] + [0] * (2 + number)
            assert [o.finish_reason for o in outputs[-2:]] == [None, FinishReason.LENGTH]

    run(test())


def test_an_aborted_request_says_so_while_others_of_its_stream_go_on() -> None:
    async def test() -> None:
        core, gate = a_gated_core()
        async with running(core) as engine:
            requests = [a_request(4, 100, request_id=name) for name in "abc"]
            reader = asyncio.ensure_future(tokens_of(engine, *requests))
            await gate.take(engine, 2)
            for request_id in ("b", "b", "never heard of"):
                engine.abort(request_id)
            gate.open()
            told = by_request(await reader)
        assert told["b"][-1].finish_reason is FinishReason.ABORT
        assert len(told["b"]) < 10
        for name in "ac":
            assert [output.index for output in told[name]] == list(range(100))
            assert told[name][-1].finish_reason is FinishReason.LENGTH

    run(test())


def test_closing_a_stream_aborts_all_that_is_unfinished_and_nothing_else() -> None:
    async def test() -> None:
        core = a_core()
        async with running(core) as engine:
            other = asyncio.ensure_future(tokens_of(engine, a_request(4, 60)))
            stream = engine.generate(a_request(4, 1), *(a_request(4, 200) for _ in range(12)))
            await anext(stream)
            await stream.aclose()
            assert len(await other) == 60
            await until_idle(engine, core)
            assert engine.num_waiting == 0
        room = core.scheduler.memory.room
        assert room.pool.num_free + room.num_idle_pages == room.pool.num_pages

    run(test())


def test_those_that_have_not_ended_and_do_not_run_are_waiting() -> None:
    async def test() -> None:
        core, gate = a_gated_core()
        async with running(core) as engine:
            requests = [a_request(4, max_tokens=3) for _ in range(11)]  # a batch has 8 rows
            reader = asyncio.ensure_future(tokens_of(engine, *requests))
            await gate.take(engine, 1)
            assert engine.num_waiting == 3
            await gate.take(engine, 3)
            assert engine.num_waiting == 0
            gate.open()
            await reader

    run(test())


def test_a_request_that_has_ended_is_forgotten_however_slow_its_reader() -> None:
    async def test() -> None:
        core, gate = a_gated_core()
        async with running(core) as engine:
            stream = engine.generate(a_request(4, 2, request_id="a"), a_request(4, 50))
            first = asyncio.ensure_future(anext(stream))
            await gate.take(engine, 1)
            await first
            await gate.take(engine, 1)
            again = asyncio.ensure_future(tokens_of(engine, a_request(4, 30, request_id="a")))
            await gate.take(engine, 2)
            await stream.aclose()
            gate.open()
            assert len(await again) == 30

    run(test())


def test_a_request_ends_once_even_if_the_engine_stops_before_anyone_reads_it() -> None:
    async def test() -> None:
        core, gate = a_gated_core()
        async with running(core) as engine:
            stream = engine.generate(*(a_request(4, n, request_id=f"{n}") for n in (2, 50)))
            first = asyncio.ensure_future(anext(stream))
            await gate.take(engine, 1)
            outputs = await first
            await gate.take(engine, 1)
            stopping = asyncio.ensure_future(engine.stop())
            await asyncio.sleep(0)
            gate.open()
            await stopping
            outputs += [output async for batch in stream for output in batch]
        ends = {o.request_id: o.finish_reason for o in outputs if o.finish_reason}
        assert ends == {"2": FinishReason.LENGTH, "50": FinishReason.ABORT}
        assert [output.index for output in by_request(outputs)["2"]] == [0, 1]

    run(test())


def test_no_request_may_be_named_twice_in_one_stream() -> None:
    async def test() -> None:
        async with running(a_core()) as engine:
            twins = [a_request(4, request_id="a") for _ in range(2)]
            with pytest.raises(BrokenInvariant, match=r"\['a'\] are not unique"):
                await tokens_of(engine, *twins)
            assert len(await tokens_of(engine, twins[0])) == 4

    run(test())


def test_the_id_of_an_abandoned_request_is_in_use_until_its_last_output_has_come() -> None:
    """Else what is on its way from the one would be read as the other's."""

    async def test() -> None:
        core, gate = a_gated_core()
        async with running(core) as engine:
            stream = engine.generate(a_request(4, 100, request_id="a"))
            first = asyncio.ensure_future(anext(stream))
            await gate.take(engine, 1)
            await first
            await stream.aclose()
            again = asyncio.ensure_future(tokens_of(engine, a_request(4, 3, request_id="a")))
            await asyncio.sleep(0)
            gate.open()
            with pytest.raises(BrokenInvariant, match="not unique"):
                await again
            await until_idle(engine, core)
            await tokens_of(engine, a_request(4, 1))  # its report comes after that of the end
            assert len(await tokens_of(engine, a_request(4, 3, request_id="a"))) == 3

    run(test())


# Commands.


def test_a_command_is_carried_out_between_two_steps_and_answered() -> None:
    async def test() -> None:
        new = an_adapter("new", num_pages=3)
        async with running(a_core(on_disk=[new])) as engine:
            (refused,) = await tokens_of(engine, a_request(4, 3, new))
            assert "'new' is not loaded" in (refused.error or "")
            assert refused.error_kind == "ModelNotFound"
            await asyncio.gather(*(engine.call(RegisterAdapter(new)) for _ in range(3)))
            assert len(await tokens_of(engine, a_request(4, 3, new))) == 3

    run(test())


def test_who_gives_up_a_command_takes_nothing_from_others() -> None:
    async def test() -> None:
        core, gate = a_gated_core()
        async with running(core) as engine:
            tokens = asyncio.ensure_future(tokens_of(engine, a_request(4, 3)))
            await asyncio.sleep(0.05)  # its first step is under way
            call = asyncio.ensure_future(engine.call(RegisterAdapter(an_adapter("new"))))
            await asyncio.sleep(0)
            gate.open()
            time.sleep(0.1)  # the reply is on its way, beside tokens
            call.cancel()
            assert len(await tokens) == 3

    run(test())


def test_an_engine_stops_though_somebody_gives_up_a_command() -> None:
    async def test() -> None:
        async with running(a_core()) as engine:
            call = asyncio.ensure_future(engine.call(RegisterAdapter(an_adapter("new"))))
            await asyncio.sleep(0)
            call.cancel()
            await engine.stop()
            assert engine.status is EngineStatus.STOPPED

    run(test())


def test_a_command_to_an_engine_that_dies_is_answered_too() -> None:
    async def test() -> None:
        core, gate = a_gated_core()
        async with running(core) as engine:
            stream = engine.generate(a_request(4, 200))
            reader = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0.05)  # its step is under way, and holds up the command
            call = asyncio.ensure_future(engine.call(RegisterAdapter(an_adapter("new"))))
            await asyncio.sleep(0)
            stopping = asyncio.ensure_future(engine.stop())
            await asyncio.sleep(0)
            gate.open()
            with pytest.raises(MotetError, match="stopping"):
                await call
            await stopping
            await reader
            await stream.aclose()
            with pytest.raises(Unavailable):
                await engine.call(RegisterAdapter(an_adapter("new")))

    run(test())
