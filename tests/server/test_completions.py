"""POST /v1/completions, from the wish to the last token."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from motet.engine import Adapter, FinishReason, Request, TokenOutput
from motet.server.text.prompts import LONG_CHARS
from motet.server.text.tokenizer import Tokenizer
from tests.server.completions import HELLO, complete, core_again, stream
from tests.server.scripted import (
    EOS,
    LETTER_A,
    ScriptedCore,
    a_config,
    an_info,
    an_output,
    babbles,
    connect,
    says,
    serving,
    until,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def core(model_dir: Path, tokenizer: Tokenizer) -> ScriptedCore:
    return ScriptedCore(says(*tokenizer.encode("a b 😀 c")[1:]), an_info(model_dir))


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("name", "header"),
    [("tuned", "tuned@01234567"), ("a b/größe 1%", "a%20b/gr%C3%B6%C3%9Fe%201%25@01234567")],
)
async def test_a_header_tells_which_weights_answer(
    model_dir: Path, name: str, header: str, streams: bool
) -> None:
    adapter = Adapter(name, "0123456789abcdef", 1, 8, 2, "adapters/tuned")
    core = ScriptedCore(says(100), an_info(model_dir, adapters=(adapter,)))
    async with serving(core) as app, connect(app) as client:
        wish = HELLO | {"model": name, "stream": streams}
        answer = await client.post("/v1/completions", json=wish)
        base = await client.post("/v1/completions", json=HELLO)
    assert answer.headers["x-adapter-generation"] == header
    assert base.headers["x-adapter-generation"] == "base"


async def test_a_completion_has_openai_s_shape(core: ScriptedCore) -> None:
    body = await complete(core)
    assert body["id"].startswith("cmpl-")
    assert body["object"] == "text_completion"
    assert body["model"] == body["system_fingerprint"] == "base"
    [choice] = body["choices"]
    assert choice["text"] == "a b 😀 c"
    assert choice["finish_reason"] == "stop"
    assert choice["logprobs"] is None
    assert "token_ids" not in choice
    num_tokens = len(core.requests[0].prompt)
    usage = body["usage"]
    assert usage["prompt_tokens"] == num_tokens
    assert usage["total_tokens"] == num_tokens + usage["completion_tokens"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 4}


@pytest.mark.parametrize("streams", [False, True])
async def test_a_prompt_is_as_cached_as_its_first_choice_found_it(
    model_dir: Path, streams: bool
) -> None:
    found = iter([0, 16, 32])

    def says_in_turn(request: Request) -> Iterator[TokenOutput]:
        yield replace(
            an_output(request, 0, LETTER_A, FinishReason.LENGTH), num_cached_tokens=next(found)
        )

    wish: dict[str, Any] = HELLO | {"n": 3, "stream": streams, "max_tokens": 1}
    if streams:
        wish["stream_options"] = {"include_usage": True}
    core = ScriptedCore(says_in_turn, an_info(model_dir))
    async with serving(core) as app, connect(app) as client:
        answer = (await client.post("/v1/completions", json=wish)).text
    assert '"cached_tokens":0' in answer and '"cached_tokens":16' not in answer


async def test_defaults_are_openai_s(core: ScriptedCore, tokenizer: Tokenizer) -> None:
    await complete(core)
    [request] = core.requests
    assert request.prompt == tuple(tokenizer.encode("hello"))
    assert request.adapter is None
    assert request.sampling.max_tokens == 16
    assert request.sampling.temperature == 1.0
    assert request.sampling.top_k == 0
    assert request.sampling.stop_token_ids == (EOS,)
    assert request.sampling.num_logprobs is None


async def test_every_sampling_field_reaches_the_engine(core: ScriptedCore) -> None:
    await complete(
        core,
        model="tuned",
        max_tokens=50,
        min_tokens=3,
        temperature=0,
        top_p=0.5,
        top_k=-1,
        min_p=0.1,
        seed=-7,
        ignore_eos=True,
        logprobs=2,
        cache_salt="tenant",
    )
    [request] = core.requests
    sampling = request.sampling
    assert request.adapter and request.adapter.name == "tuned"
    assert request.cache_salt == "tenant"
    assert (sampling.max_tokens, sampling.min_tokens, sampling.temperature) == (50, 3, 0)
    assert (sampling.top_p, sampling.top_k, sampling.min_p, sampling.seed) == (0.5, 0, 0.1, -7)
    assert (sampling.stop_token_ids, sampling.num_logprobs) == ((), 2)


async def test_seeds_are_random_unless_given(core: ScriptedCore) -> None:
    async with serving(core) as app, connect(app) as client:
        for _ in range(2):
            await client.post("/v1/completions", json=HELLO)
    first, second = core.requests
    assert first.sampling.seed != second.sampling.seed


@pytest.mark.parametrize("prompt", [[5, 6, 7], [[5, 6, 7]]])
async def test_a_prompt_may_be_token_ids(core: ScriptedCore, prompt: Any) -> None:
    await complete(core, prompt=prompt)
    assert core.requests[0].prompt == (5, 6, 7)


async def test_a_list_of_one_text_is_that_text(core: ScriptedCore, tokenizer: Tokenizer) -> None:
    await complete(core, prompt=["hello"])
    assert core.requests[0].prompt == tuple(tokenizer.encode("hello"))


@pytest.mark.parametrize("stop", [[], ["😀"], ["b 😀"], [" c", "b"], ["nowhere"]])
@pytest.mark.parametrize("logprobs", [None, 1])
async def test_a_stream_says_what_the_whole_answer_says(
    core: ScriptedCore, stop: list[str], logprobs: int | None
) -> None:
    fields = {"stop": stop, "logprobs": logprobs, "return_token_ids": True}
    whole = await complete(core, **fields)
    *chunks, usage, done = await stream(
        core_again(core), **fields, stream_options={"include_usage": True}
    )

    choices = [chunk["choices"][0] for chunk in chunks]
    [choice] = whole["choices"]
    assert "".join(c["text"] for c in choices) == choice["text"]
    assert [i for c in choices for i in c["token_ids"]] == choice["token_ids"]
    assert [c["finish_reason"] for c in choices if c["finish_reason"]] == ["stop"]
    assert choices[-1]["text"] == ""
    assert choices[-1]["stop_reason"] == choice["stop_reason"]
    if logprobs:
        for key, values in choice["logprobs"].items():
            streamed = [c["logprobs"][key] for c in choices if c["logprobs"]]
            assert [value for part in streamed for value in part] == values
    assert usage["choices"] == []
    assert usage["usage"] == whole["usage"]
    assert all(chunk["usage"] is None for chunk in chunks)
    assert done == "data: [DONE]"


async def test_a_stop_string_ends_the_text(core: ScriptedCore) -> None:
    body = await complete(core, stop=["b 😀", "c"])
    assert body["choices"][0]["text"] == "a "
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["choices"][0]["stop_reason"] == "b 😀"


async def test_a_stop_string_ends_the_request(core: ScriptedCore) -> None:
    endless = ScriptedCore(babbles, core.info)
    async with serving(endless) as app, connect(app) as client:
        wish = HELLO | {"stop": "a", "max_tokens": 100, "min_tokens": 3}
        body = (await client.post("/v1/completions", json=wish)).json()
        await until(lambda: endless.aborted == {endless.requests[0].request_id})
    assert body["choices"][0]["text"] == "aaa"
    assert body["usage"]["completion_tokens"] == 4


async def test_an_answer_at_its_limit_says_length(core: ScriptedCore) -> None:
    limited = ScriptedCore(says(100, 101, end=FinishReason.LENGTH), core.info)
    body = await complete(limited, return_token_ids=True)
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["choices"][0]["token_ids"] == [100, 101]
    assert body["usage"]["completion_tokens"] == 2


async def test_end_of_sequence_is_a_token_without_text(core: ScriptedCore) -> None:
    body = await complete(core, return_token_ids=True)
    assert body["choices"][0]["token_ids"][-1] == EOS
    assert body["usage"]["completion_tokens"] == len(body["choices"][0]["token_ids"])


async def test_no_text_shows_what_ended_the_sequence(core: ScriptedCore) -> None:
    def ends_with_a_letter(request: Request) -> Iterator[TokenOutput]:
        yield an_output(request, 0, LETTER_A)
        yield an_output(request, 1, LETTER_A, FinishReason.STOP)

    body = await complete(ScriptedCore(ends_with_a_letter, core.info))
    assert body["choices"][0]["text"] == "a"


async def test_logprobs_name_tokens_and_their_places(core: ScriptedCore) -> None:
    logprobs = (await complete(core, logprobs=2))["choices"][0]["logprobs"]
    assert set(map(len, logprobs.values())) == {len(logprobs["tokens"])}
    assert logprobs["tokens"][0] == "a"
    assert logprobs["text_offset"][:2] == [0, 1]
    assert logprobs["top_logprobs"][0]["a"] == logprobs["token_logprobs"][0] == -0.5
    assert all(2 <= len(top) <= 3 for top in logprobs["top_logprobs"])


async def test_logprobs_of_zero_name_only_the_chosen(core: ScriptedCore) -> None:
    logprobs = (await complete(core, logprobs=0))["choices"][0]["logprobs"]
    assert logprobs["top_logprobs"][0] == {"a": -0.5}


async def test_tokens_that_read_the_same_keep_their_own_logprobs(core: ScriptedCore) -> None:
    halves = ScriptedCore(says(99, end=FinishReason.LENGTH), core.info)  # parts of characters
    logprobs = (await complete(halves, logprobs=2))["choices"][0]["logprobs"]
    assert logprobs["top_logprobs"] == [{"\ufffd": -0.5, "token_id:98": -1.5}]


async def test_an_adapter_is_named_with_its_digest(core: ScriptedCore) -> None:
    body = await complete(core, model="tuned")
    assert body["model"] == "tuned"
    assert body["system_fingerprint"] == "tuned@01234567"


async def test_a_large_body_is_a_request_like_any_other(core: ScriptedCore) -> None:
    roomy = ScriptedCore(core.script, an_info(Path(core.info.model), max_model_len=200_000))
    await complete(roomy, prompt=[5] * 100_000)
    assert roomy.requests[0].prompt == (5,) * 100_000


async def test_a_long_text_is_a_prompt_like_any_other(
    core: ScriptedCore, tokenizer: Tokenizer
) -> None:
    text = "a b" * LONG_CHARS
    roomy = ScriptedCore(core.script, an_info(Path(core.info.model), max_model_len=100_000))
    await complete(roomy, prompt=text)
    assert roomy.requests[0].prompt == tuple(tokenizer.encode(text))


async def test_the_default_limit_is_what_the_context_has_left(core: ScriptedCore) -> None:
    await complete(core, prompt=[5] * 120)
    assert core.requests[0].sampling.max_tokens == 8


async def test_unknown_fields_are_ignored_and_logged_once(
    core: ScriptedCore, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(core) as app, connect(app) as client:
        with caplog.at_level(logging.WARNING, "motet"):
            for _ in range(2):
                answer = await client.post("/v1/completions", json=HELLO | {"tempurature": 0})
                assert answer.status_code == 200
    assert [r.getMessage() for r in caplog.records] == [
        "ignored unknown request field 'tempurature'"
    ]


async def test_many_requests_run_at_once_and_keep_apart(core: ScriptedCore) -> None:
    async with serving(ScriptedCore(babbles, core.info), a_config()) as app, connect(app) as client:
        answers = await asyncio.gather(
            *(client.post("/v1/completions", json=HELLO | {"max_tokens": n}) for n in range(1, 33))
        )
    counted = [answer.json()["usage"]["completion_tokens"] for answer in answers]
    assert counted == list(range(1, 33))


async def test_a_text_may_have_its_special_tokens_already(
    core: ScriptedCore, tokenizer: Tokenizer
) -> None:
    await complete(core, add_special_tokens=False)
    assert core.requests[0].prompt == tuple(tokenizer.encode("hello", add_special_tokens=False))
