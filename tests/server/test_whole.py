"""The server over the real scheduler: tokens arrive exactly, and nobody's pages are left behind."""

import asyncio
import random
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest

from motet.engine.core import EngineCore
from motet.engine.fake.token_hash import expected_tokens
from motet.engine.inbox import Inbox
from tests.engine.factories import (
    PAGE_TOKENS,
    VOCAB_SIZE,
    a_scheduler,
    an_adapter,
    an_executor,
)
from tests.server.scripted import an_info, listening, until

pytestmark = pytest.mark.anyio

NUM_PAGES = 64


def a_core(model_dir: Path) -> EngineCore:
    """A pool that a dozen requests fill."""
    adapter = an_adapter()
    scheduler = a_scheduler(num_pages=NUM_PAGES, adapters=[adapter])
    info = an_info(
        model_dir,
        vocab_size=VOCAB_SIZE,
        max_model_len=256,
        num_pages=NUM_PAGES,
        page_tokens=PAGE_TOKENS,
        eos_token_ids=(),
        adapters=(adapter,),
    )
    inbox = Inbox()
    return EngineCore(info, scheduler, an_executor(scheduler, inbox), inbox)


def a_wish(number: int, max_tokens: int) -> dict[str, Any]:
    return {
        "model": ("base", "a")[number % 2],
        "prompt": list(range(number, number + 9)),
        "max_tokens": max_tokens,
        "return_token_ids": True,
    }


def expected(wish: dict[str, Any]) -> list[int]:
    adapter = an_adapter()
    digest = adapter.digest if wish["model"] == "a" else None
    prompt = tuple(wish["prompt"])
    tokens = expected_tokens(prompt, digest, adapter.num_pages, PAGE_TOKENS, VOCAB_SIZE)
    return list(islice(tokens, wish["max_tokens"]))


async def test_thirty_two_clients_get_their_own_tokens(model_dir: Path) -> None:
    wishes = [a_wish(number, max_tokens=20 + number) for number in range(32)]
    async with listening(a_core(model_dir)) as url, httpx.AsyncClient(base_url=url) as client:
        answers = await asyncio.gather(
            *(client.post("/v1/completions", json=wish, timeout=60) for wish in wishes)
        )
    assert [a.json()["choices"][0]["token_ids"] for a in answers] == [*map(expected, wishes)]


async def test_every_choice_of_every_prompt_gets_its_own_tokens(model_dir: Path) -> None:
    wishes = [a_wish(2 * number, max_tokens=20) for number in range(4)]
    job = a_wish(0, max_tokens=20) | {"prompt": [wish["prompt"] for wish in wishes], "n": 3}
    async with listening(a_core(model_dir)) as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.post("/v1/completions", json=job, timeout=60)
    choices = answer.json()["choices"]
    assert [c["token_ids"] for c in choices] == [expected(wishes[i // 3]) for i in range(12)]


@pytest.mark.parametrize("n", [1, 3])
async def test_leaving_at_a_random_token_returns_every_page(model_dir: Path, n: int) -> None:
    core = a_core(model_dir)
    rng = random.Random(0)

    async def come_and_go(client: httpx.AsyncClient, number: int) -> None:
        wish = a_wish(number, max_tokens=200) | {"stream": True, "n": n}
        async with client.stream("POST", "/v1/completions", json=wish, timeout=60) as answer:
            num_pieces = rng.randrange(10)
            async for _ in answer.aiter_bytes():
                num_pieces -= 1
                if num_pieces < 0:
                    break

    async with listening(core) as url, httpx.AsyncClient(base_url=url) as client:
        await asyncio.gather(*(come_and_go(client, number) for number in range(24)))
        await until(lambda: not core.scheduler.has_work)
        after = await client.post("/v1/completions", json=a_wish(99, max_tokens=5))
    assert after.json()["choices"][0]["token_ids"] == expected(a_wish(99, max_tokens=5))
    core.scheduler.check()
    room = core.scheduler.memory.room
    assert room.pool.num_free + room.num_idle_pages == NUM_PAGES


async def test_what_never_fits_the_pool_is_refused_by_how_much(model_dir: Path) -> None:
    core = a_core(model_dir)
    async with listening(core) as url, httpx.AsyncClient(base_url=url) as client:
        wish = {"model": "base", "prompt": [1] * 9, "max_tokens": 247, "stream": True}
        fits = await client.post("/v1/completions", json=wish, timeout=60)
        assert fits.status_code == 200
        answer = await client.post("/v1/completions", json=wish | {"model": "a"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert answer.json()["error"]["message"]
