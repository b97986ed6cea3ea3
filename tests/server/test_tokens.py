"""Text to tokens and back over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from motet.server.text.tokenizer import Tokenizer
from tests.server.scripted import ScriptedCore, an_info, connect, says, serving

pytestmark = pytest.mark.anyio

TEXT = "bado gife 😀 "
BOS = 1


@pytest.fixture
async def client(model_dir: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(ScriptedCore(says(100), an_info(model_dir))) as app, connect(app) as client:
        yield client


async def post(client: httpx.AsyncClient, path: str, **body: Any) -> Any:
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_prompt_gets_the_tokens_that_a_completion_would_see(
    client: httpx.AsyncClient, tokenizer: Tokenizer
) -> None:
    ids = tokenizer.encode(TEXT)
    assert await post(client, "/tokenize", model="tuned", prompt=TEXT) == {
        "count": len(ids),
        "max_model_len": 128,
        "tokens": ids,
        "token_strs": None,
    }


async def test_special_tokens_are_added_as_each_engine_does(client: httpx.AsyncClient) -> None:
    [*with_bos] = (await post(client, "/tokenize", prompt=TEXT))["tokens"]
    without = (await post(client, "/tokenize", prompt=TEXT, add_special_tokens=False))["tokens"]
    assert with_bos == [BOS, *without]
    assert (await post(client, "/tokenize", content=TEXT))["tokens"] == without
    asked = await post(client, "/tokenize", content=TEXT, add_special_tokens=True)
    assert asked["tokens"] == with_bos


async def test_tokens_are_spelt_if_asked_for(client: httpx.AsyncClient) -> None:
    answer = await post(client, "/tokenize", prompt="a b", return_token_strs=True)
    assert answer["token_strs"][0] == "<s>"
    assert "".join(answer["token_strs"][1:]) == "aĠb"  # as byte-level vocabularies spell a space


async def test_detokenizing_gives_the_text_back(client: httpx.AsyncClient) -> None:
    ids = (await post(client, "/tokenize", prompt=TEXT))["tokens"]
    assert await post(client, "/detokenize", tokens=ids) == {"prompt": f"<s>{TEXT}"}
    assert await post(client, "/detokenize", tokens=[]) == {"prompt": ""}


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/tokenize", {}, 400, "prompt"),
        ("/tokenize", {"prompt": "a", "content": "a"}, 400, "prompt"),
        ("/tokenize", {"prompt": [1]}, 400, "prompt"),
        ("/tokenize", {"prompt": "a", "model": "tunde"}, 404, "model"),
        ("/detokenize", {"tokens": [-1]}, 400, "tokens"),
        ("/detokenize", {"tokens": [320]}, 400, "tokens"),
        ("/detokenize", {"tokens": ["a"]}, 400, "tokens"),
        ("/detokenize", {}, 400, None),
        ("/detokenize", {"tokens": [1], "model": "tunde"}, 404, "model"),
    ],
)
async def test_what_is_no_text_and_no_token_is_refused(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], status: int, param: str | None
) -> None:
    answer = await client.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


@pytest.mark.parametrize(
    ("path", "body"), [("/tokenize", {"prompt": "a"}), ("/detokenize", {"tokens": [1]})]
)
async def test_without_a_tokenizer_both_say_so(
    tmp_path: Path, path: str, body: dict[str, Any]
) -> None:
    core = ScriptedCore(says(100), an_info(tmp_path))
    async with serving(core) as app, connect(app) as client:
        answer = await client.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "no_tokenizer")


async def test_a_conversation_is_written_as_chat_writes_it(
    client: httpx.AsyncClient, tokenizer: Tokenizer
) -> None:
    messages = [{"role": "user", "content": "a"}]
    said = await post(client, "/tokenize", messages=messages)
    assert said["tokens"] == tokenizer.encode("user: a;me:", add_special_tokens=False)
    unprompted = await post(client, "/tokenize", messages=messages, add_generation_prompt=False)
    assert unprompted["tokens"] == tokenizer.encode("user: a;", add_special_tokens=False)


async def test_the_text_is_given_once(client: httpx.AsyncClient) -> None:
    for body in ({}, {"prompt": "a", "content": "a"}):
        answer = await client.post("/tokenize", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prompt")
