"""Streamed or not, alone or in company: one request, one answer.

Every two values of two parameters meet in a request of `parameters.ROUTES`.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
import pytest
from transformers import LlamaForCausalLM

from motet.engine import Engine
from motet.engine.config import EngineConfig, ModelConfig, PoolConfig
from motet.engine.start.build import build
from motet.server.http.app import create_app
from motet.server.http.config import ServerConfig
from motet.server.text.tokenizer import REPLACEMENT
from tests.adapter_factory import ADAPTER_KINDS, save_adapter
from tests.contract.pairwise import pairwise
from tests.contract.parameters import ONLY_BYTES, ROUTES, UNSTOPPED, Said, Value, body_of
from tests.contract.streams import as_whole, chunks_of, differences
from tests.model_factory import CHAT_TEMPLATE, VOCAB_SIZE, make_llama, make_tokenizer

pytestmark = pytest.mark.anyio

MAX_MODEL_LEN = 80
POOL_BYTES = 2**21

CASES = [(path, row) for path, table in ROUTES.items() for row in pairwise(table)]
EACH_CASE = pytest.mark.parametrize("index", range(len(CASES)))

NEIGHBOURS: tuple[dict[str, Any], ...] = (
    {"model": "tiny", "prompt": "ba", "temperature": 0},
    {"model": "tuned", "prompt": "fo 😀", "seed": 3, "max_tokens": 24, "logit_bias": ONLY_BYTES},
    {"model": "tuned", "prompt": [[5, 6], [7]], "seed": 4, "n": 2, "logprobs": 2, "top_p": 0.9},
    {"model": "tiny", "prompt": "kuli " * 9, "seed": 5, "max_tokens": 24, "frequency_penalty": 2},
)

ASKED = frozenset("é😀")
"""Characters that prompts have, and perhaps nobody else."""


class Asker:
    """Asks a server; no request finds the KV of another one."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._salts = map(str, count())

    async def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return await self._client.post(path, json=body | {"cache_salt": next(self._salts)})

    async def whole(self, path: str, body: dict[str, Any]) -> Any:
        answer = await self.post(path, {k: v for k, v in body.items() if k != "stream_options"})
        assert answer.status_code == 200, (body, answer.text)
        return answer.json()

    async def chunks(self, path: str, body: dict[str, Any]) -> list[Any]:
        answer = await self.post(path, body | {"stream": True})
        assert answer.status_code == 200, (body, answer.text)
        return chunks_of(answer.text)

    async def said(self, path: str, row: dict[str, Value]) -> Said:
        """What stops the request of `row` must be found in what would be said without it."""
        answer = await self.whole(path, body_of(row) | UNSTOPPED)
        choice = answer["choices"][0]
        return Said(text_of(choice), choice["token_ids"])

    async def neighbours(self) -> list[Any]:
        wishes = (body | {"return_token_ids": True} for body in NEIGHBOURS)
        answers = await asyncio.gather(*(self.whole("/v1/completions", wish) for wish in wishes))
        return [[choice["token_ids"] for choice in answer["choices"]] for answer in answers]


def text_of(choice: Any) -> str:
    text: str = choice["text"] if "text" in choice else choice["message"]["content"]
    return text


@dataclass(frozen=True, slots=True)
class Answers:
    """To one request."""

    body: dict[str, Any]
    alone: Any
    in_company: Any
    chunks: list[Any]
    """Of the stream, in company as well."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def asker(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Asker]:
    directory = tmp_path_factory.mktemp("pairwise")
    model = make_tokenizer(make_llama(directory / "tiny"), CHAT_TEMPLATE)
    tuned = save_adapter(
        LlamaForCausalLM.from_pretrained(model), directory / "tuned", ADAPTER_KINDS["all-linear"]
    )
    config = EngineConfig(
        str(model),
        (("tuned", str(tuned)),),
        ModelConfig(max_model_len=MAX_MODEL_LEN),
        PoolConfig(pool_bytes=POOL_BYTES),
    )
    app = create_app(Engine(lambda: build(config, lambda *_: None)), ServerConfig())
    async with app.router.lifespan_context(app):
        await app.state.service.ready()
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://motet") as client:
            yield Asker(client)


@pytest.fixture(scope="module")
async def answers(asker: Asker) -> list[Answers]:
    """To every case. The neighbours have their own tokens each time."""
    expected = await asker.neighbours()
    spoken = await asyncio.gather(*(asker.said(path, row) for path, row in CASES))
    found = []
    for (path, row), said in zip(CASES, spoken, strict=True):
        body = body_of(row, said)
        alone = await asker.whole(path, body)
        neighbours, in_company, chunks = await asyncio.gather(
            asker.neighbours(), asker.whole(path, body), asker.chunks(path, body)
        )
        assert neighbours == expected, body
        found.append(Answers(body, alone, in_company, chunks))
    return found


@EACH_CASE
async def test_an_answer_is_the_same_alone_and_in_company(
    answers: list[Answers], index: int
) -> None:
    case = answers[index]
    assert not [*differences(case.alone, case.in_company)], case.body


@EACH_CASE
async def test_a_stream_says_what_the_whole_answer_says(answers: list[Answers], index: int) -> None:
    case = answers[index]
    streamed, whole = as_whole(case.chunks), dict(case.alone)
    if "stream_options" not in case.body:
        whole["usage"] = None  # a stream counts only if it is asked to
    assert not [*differences(whole, streamed)], case.body


@EACH_CASE
async def test_a_stream_counts_where_it_is_asked_to(answers: list[Answers], index: int) -> None:
    case = answers[index]
    options = case.body.get("stream_options", {})
    has_last = options.get("include_usage", False)
    chunks = case.chunks[:-1] if has_last else case.chunks
    assert all(chunk["choices"] for chunk in chunks)
    assert not has_last or case.chunks[-1]["choices"] == []
    counted = [chunk["usage"]["completion_tokens"] for chunk in chunks if chunk["usage"]]
    assert len(counted) == (len(chunks) if options.get("continuous_usage_stats") else 0)
    assert counted == sorted(counted)


async def test_the_cases_reach_every_ending_and_characters_of_every_length(
    answers: list[Answers],
) -> None:
    choices = [choice for case in answers for choice in case.alone["choices"]]
    endings = {(choice["finish_reason"], type(choice["stop_reason"])) for choice in choices}
    assert endings == {("stop", str), ("stop", int), ("stop", type(None)), ("length", type(None))}
    said = {character for choice in choices for character in text_of(choice)}
    assert {len(character.encode()) for character in said - ASKED} == {1, 2, 3, 4}
    assert REPLACEMENT in said


GREETING: dict[str, dict[str, Any]] = {
    "/v1/completions": {"prompt": "ba"},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "ba"}]},
}

OF_BOTH: dict[str, tuple[str, dict[str, Any]]] = {
    "no room to generate": ("max_tokens", {"max_tokens": 0}),
    "more than the context": ("max_tokens", {"max_tokens": MAX_MODEL_LEN}),
    "a least above the most": ("min_tokens", {"min_tokens": 3, "max_tokens": 2}),
    "out of bounds": ("temperature", {"temperature": 2.1}),
    "of another type": ("n", {"n": "2"}),
    "no token": ("stop_token_ids", {"stop_token_ids": [VOCAB_SIZE]}),
    "no token either": ("logit_bias", {"logit_bias": {str(VOCAB_SIZE): 1}}),
    "an unknown model": ("model", {"model": "tuner"}),
    "an unknown adapter": ("model", {"model": "tiny:tuner"}),
    "two adapters": ("lora_path", {"model": "tuned", "lora_path": "tuner"}),
    "not supported": ("response_format", {"response_format": {"type": "json_object"}}),
}
"""What is wrong -> the field that is named, and what the body has."""
OF_COMPLETIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "a prompt without tokens": ("prompt", {"prompt": ["ba", ""]}),
    "a prompt without room": ("prompt", {"prompt": [[5], [5] * MAX_MODEL_LEN]}),
    "a prompt outside the vocabulary": ("prompt", {"prompt": [[5], [VOCAB_SIZE]]}),
    "too many choices": ("n", {"prompt": ["ba"] * 10, "n": 100}),
    "too many logprobs": ("logprobs", {"logprobs": 21}),
    "choices left out": ("best_of", {"n": 1, "best_of": 2}),
    "a suffix": ("suffix", {"suffix": "na"}),
}
OF_CHAT: dict[str, tuple[str, dict[str, Any]]] = {
    "top without logprobs": ("top_logprobs", {"top_logprobs": 3}),
    "two limits": ("max_completion_tokens", {"max_tokens": 3, "max_completion_tokens": 4}),
    "no messages": ("messages", {"messages": []}),
    "a conversation without room": (
        "messages",
        {"messages": [{"role": "user", "content": "b" * 10 * MAX_MODEL_LEN}]},
    ),
    "tools": ("tools", {"tools": [{"type": "function"}]}),
}
REFUSED = {
    f"{path.rpartition('/')[2]}: {name}": (path, *refused)
    for path, own in zip(ROUTES, (OF_COMPLETIONS, OF_CHAT), strict=True)
    for name, refused in (OF_BOTH | own).items()
}


@pytest.mark.parametrize(("path", "param", "fields"), REFUSED.values(), ids=REFUSED)
async def test_what_is_refused_is_refused_alike_as_a_stream(
    asker: Asker, path: str, param: str, fields: dict[str, Any]
) -> None:
    body = {"model": "tiny", **GREETING[path]} | fields
    whole = await asker.post(path, body)
    streamed = await asker.post(path, body | {"stream": True})
    assert whole.status_code in (400, 404)
    assert whole.json()["error"]["param"] == param
    assert (streamed.status_code, streamed.json()) == (whole.status_code, whole.json())
