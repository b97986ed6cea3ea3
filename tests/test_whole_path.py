"""Everything at once: the real server, real directories, an official client, a pool too small."""

import asyncio
import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import openai
import pytest

from motet.engine.models import MODELS
from tests.cli.process import Server
from tests.model_factory import VOCAB_SIZE
from tests.reference import MAX_EXCLUDED_SHARE, Reference, check_greedy, make_reference

CONCURRENCY = 32
NUM_REQUESTS = 96
NUM_TOKENS = 24


@dataclass(frozen=True, slots=True)
class Wish:
    model: str
    prompt: list[int]
    is_streamed: bool


@pytest.fixture(scope="module", params=MODELS)
def reference(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Reference:
    return make_reference(tmp_path_factory.mktemp("whole"), request.param)


@pytest.fixture(scope="module")
def server(reference: Reference) -> Iterator[Server]:
    """Serves all adapters from a pool that holds a few of them."""
    named = [f"{name}={path}" for name, path in reference.adapters.items()]
    adapters = [part for pair in named for part in ("--adapter", pair)]
    server = Server(
        reference.model, *adapters, "--pool-bytes", "1250KB", "--max-model-len", 128,
        "--max-batch-tokens", 64,
    )  # fmt: skip
    server.wait_for("/ready")
    yield server
    assert server.stop(signal.SIGTERM) == (0, "")


def some_wishes(reference: Reference) -> list[Wish]:
    rng = random.Random(0)
    models = ["model", *reference.adapters]
    beginning = rng.choices(range(3, VOCAB_SIZE), k=32)
    return [
        Wish(
            models[number % len(models)],
            [*beginning[: rng.choice([0, 16, 32])], *rng.choices(range(3, VOCAB_SIZE), k=9)],
            is_streamed=bool(number % 2),
        )
        for number in range(NUM_REQUESTS)
    ]


async def tokens_of(client: openai.AsyncOpenAI, wish: Wish) -> list[int]:
    answer = await client.completions.create(
        model=wish.model,
        prompt=wish.prompt,
        max_tokens=NUM_TOKENS,
        temperature=0,
        stream=wish.is_streamed,
        extra_body={"return_token_ids": True, "ignore_eos": True},
    )
    if isinstance(answer, openai.AsyncStream):
        choices = [choice async for chunk in answer for choice in chunk.choices]
    else:
        choices = answer.choices
    return [token for choice in choices for token in (choice.model_extra or {})["token_ids"]]


async def ask(url: str, wishes: list[Wish]) -> list[list[int]]:
    """All answers, CONCURRENCY of them at a time."""
    places = asyncio.Semaphore(CONCURRENCY)
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:

        async def wait_for(wish: Wish) -> list[int]:
            async with places:
                return await tokens_of(client, wish)

        return await asyncio.gather(*map(wait_for, wishes))


def metric(url: str, series: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    [value] = [line.split()[-1] for line in lines if line.startswith(f"{series} ")]
    return float(value)


def test_every_token_over_http_equals_transformers_and_peft(
    reference: Reference, server: Server
) -> None:
    wishes = some_wishes(reference)
    answers = asyncio.run(ask(server.url, wishes))
    num_excluded = 0
    for wish, tokens in zip(wishes, answers, strict=True):
        assert len(tokens) == NUM_TOKENS
        adapter = wish.model if wish.model in reference.adapters else None
        num_excluded += check_greedy(tokens, reference.logits(wish.prompt, tokens, adapter))
    assert num_excluded / (NUM_REQUESTS * NUM_TOKENS) < MAX_EXCLUDED_SHARE
    assert metric(server.url, 'motet_page_evictions_total{owner="adapter"}') > 0
    assert metric(server.url, "motet_adapter_loads_total") > len(reference.adapters)


BAD_WISHES = (
    b"{",
    b'{"model": "model", "prompt": [5], "temperature": NaN}',
    b'{"model": "model", "prompt": [5], "max_tokens": -1}',
    b'{"model": "model", "prompt": [999999]}',
    b'{"model": "model", "prompt": "text without a tokenizer"}',
    b'{"model": "no-such-adapter", "prompt": [5]}',
    b'{"model": "rank-64", "prompt": [5], "max_tokens": 100000}',
    b'{"model": "model", "prompt": [' + b"5, " * 500 + b"5]}",
)


def test_bad_requests_leave_running_ones_untouched(reference: Reference, server: Server) -> None:
    canaries = some_wishes(reference)[:CONCURRENCY]

    async def offend() -> None:
        async with httpx.AsyncClient() as client:
            for body in BAD_WISHES * 10:
                headers = {"Content-Type": "application/json"}
                url = f"{server.url}/v1/completions"
                answer = await client.post(url, content=body, headers=headers)
                assert answer.status_code in (400, 404), (body, answer.text)
                assert answer.json()["error"]["message"]

    async def both() -> list[list[int]]:
        answers, _ = await asyncio.gather(ask(server.url, canaries), offend())
        return answers

    for wish, tokens in zip(canaries, asyncio.run(both()), strict=True):
        adapter = wish.model if wish.model in reference.adapters else None
        check_greedy(tokens, reference.logits(wish.prompt, tokens, adapter))


def test_clients_that_leave_at_a_random_token_leave_no_page_in_use(server: Server) -> None:
    async def leave(client: httpx.AsyncClient, after: int) -> None:
        wish = {"model": "model", "prompt": [5] * 40, "max_tokens": 80, "stream": True}
        wish |= {"ignore_eos": True, "return_token_ids": True}
        async with client.stream("POST", f"{server.url}/v1/completions", json=wish) as answer:
            async for _ in answer.aiter_lines():
                after -= 1
                if after < 0:
                    return

    async def storm() -> None:
        rng = random.Random(1)
        async with httpx.AsyncClient(timeout=60) as client:
            await asyncio.gather(*(leave(client, rng.randrange(60)) for _ in range(CONCURRENCY)))
            for _ in range(100):
                if not metric(server.url, "motet_requests_running"):
                    return
                await asyncio.sleep(0.1)
        pytest.fail("requests are still running 10 seconds after their clients left")

    asyncio.run(storm())
    assert metric(server.url, "motet_requests_waiting") == 0
    for owner in ("kv", "adapter"):
        num_held = metric(server.url, f'motet_pages{{owner="{owner}"}}')
        assert metric(server.url, f'motet_idle_pages{{owner="{owner}"}}') == num_held
