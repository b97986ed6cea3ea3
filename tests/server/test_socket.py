"""A real server on a real socket: the official client, and clients that leave."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from motet.engine import FinishReason
from motet.server.text.tokenizer import Tokenizer
from tests.server.scripted import (
    ScriptedCore,
    an_info,
    babbles,
    fails,
    hesitates,
    listening,
    says,
    until,
)

pytestmark = pytest.mark.anyio

TEXT = "a b 😀 c"


@pytest.fixture
def core(model_dir: Path, tokenizer: Tokenizer) -> ScriptedCore:
    info = an_info(model_dir, max_model_len=1_000_000)
    return ScriptedCore(says(*tokenizer.encode(TEXT)[1:]), info)


@pytest.fixture
async def client(core: ScriptedCore) -> AsyncIterator[openai.AsyncOpenAI]:
    async with listening(core) as url, official(url) as client:
        yield client


def official(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


async def test_the_official_client_completes(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(model="tuned", prompt="hello", logprobs=1, seed=1)
    [choice] = answer.choices
    assert choice.text == TEXT
    assert choice.finish_reason == "stop"
    assert choice.logprobs and choice.logprobs.tokens and choice.logprobs.tokens[0] == "a"
    assert answer.usage and answer.usage.prompt_tokens_details
    assert answer.usage.prompt_tokens_details.cached_tokens == 4
    assert answer._request_id


async def test_the_official_client_streams(client: openai.AsyncOpenAI) -> None:
    stream = await client.completions.create(
        model="base", prompt=[5, 6], stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks) == TEXT
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert last.choices == []
    assert last.usage and last.usage.prompt_tokens == 2


async def test_the_official_client_lists_models(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["base", "tuned"]
    assert (await client.models.retrieve("tuned")).id == "tuned"


async def test_the_official_client_understands_our_errors(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.completions.create(model="nobody", prompt="hello")
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError, match="'temperature' is 3: expected"):
        await client.completions.create(model="base", prompt="hello", temperature=3, stream=True)


async def test_the_official_client_sees_a_stream_break(core: ScriptedCore) -> None:
    broken = ScriptedCore(fails(FinishReason.ERROR, "the engine failed", after=3), core.info)
    async with listening(broken) as url, official(url) as client:
        stream = await client.completions.create(model="base", prompt="hello", stream=True)
        with pytest.raises(openai.APIError, match="the engine failed"):
            _ = [chunk async for chunk in stream]


LONG: dict[str, Any] = {"model": "base", "prompt": [5], "max_tokens": 100_000}


@pytest.mark.parametrize("seed", range(5))
async def test_leaving_a_stream_aborts_the_request(core: ScriptedCore, seed: int) -> None:
    endless = ScriptedCore(babbles, core.info)
    num_pieces = random.Random(seed).randrange(20)
    async with listening(endless) as url, httpx.AsyncClient(base_url=url) as client:
        async with client.stream("POST", "/v1/completions", json=LONG | {"stream": True}) as answer:
            pieces = answer.aiter_bytes()
            for _ in range(num_pieces):
                await anext(pieces)
        await until(lambda: endless.aborted == {endless.requests[0].request_id})
        metrics = (await client.get("/metrics")).text
    assert 'motet_requests_total{finish_reason="abort"} 1.0' in metrics


@pytest.mark.parametrize("streams", [False, True])
async def test_leaving_before_the_answer_begins_aborts_the_request(
    core: ScriptedCore, streams: bool
) -> None:
    slow = ScriptedCore(hesitates, core.info)
    async with listening(slow) as url, httpx.AsyncClient(base_url=url) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/v1/completions", json=LONG | {"stream": streams}, timeout=0.1)
        await until(lambda: slow.aborted == {slow.requests[0].request_id})


async def test_a_storm_of_leaving_clients_leaves_nothing_behind(core: ScriptedCore) -> None:
    endless = ScriptedCore(babbles, core.info)
    rng = random.Random(0)

    async def come_and_go(client: httpx.AsyncClient, number: int) -> None:
        wish = LONG | {"stream": number % 2 == 0}
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(rng.uniform(0.05, 0.5)):
                await client.post("/v1/completions", json=wish)

    async with listening(endless) as url, httpx.AsyncClient(base_url=url) as client:
        await asyncio.gather(*(come_and_go(client, number) for number in range(40)))
        await until(lambda: endless.aborted == {r.request_id for r in endless.requests})
        assert not endless.has_work
        answer = await client.post("/v1/completions", json=LONG | {"max_tokens": 1})
        assert answer.status_code == 200
