"""POST /v1/completions: what is refused, and what fails on the way."""

from pathlib import Path
from typing import Any

import pytest

from motet.client.protocol import CompletionRequest
from motet.engine import FinishReason
from motet.server.openai.wishes import DEFAULT_ONLY
from motet.server.text.tokenizer import Tokenizer
from tests.server.completions import HELLO, complete, core_again, refusal, stream
from tests.server.scripted import (
    EOS,
    UNSUPPORTED,
    Script,
    ScriptedCore,
    an_info,
    connect,
    dies,
    fails,
    says,
    serving,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def core(model_dir: Path, tokenizer: Tokenizer) -> ScriptedCore:
    return ScriptedCore(says(*tokenizer.encode("a b 😀 c")[1:]), an_info(model_dir))


NOT_DEFAULT: dict[str, Any] = {
    "suffix": "x",
    **UNSUPPORTED,
}


@pytest.mark.parametrize("field", DEFAULT_ONLY[CompletionRequest])
async def test_what_is_not_supported_is_refused_by_name(core: ScriptedCore, field: str) -> None:
    error = await refusal(core, **{field: NOT_DEFAULT[field]})
    assert error["message"] == f"'{field}' is not supported in this version: leave it out"
    assert (error["code"], error["param"]) == ("unsupported_parameter", field)
    assert not core.requests


async def test_neutral_values_of_unsupported_fields_are_fine(core: ScriptedCore) -> None:
    await complete(core, n=1, best_of=1, echo=False, presence_penalty=0, logit_bias={}, suffix=None)
    await complete(core_again(core), response_format={"type": "text"})


@pytest.mark.parametrize(
    ("fields", "param", "says_"),
    [
        ({"prompt": ""}, "prompt", "'prompt' is empty"),
        ({"prompt": []}, "prompt", "'prompt' is empty"),
        ({"prompt": [[]]}, "prompt", "'prompt' is empty"),
        ({"prompt": ["a", ""]}, "prompt", "'prompt[1]' is empty"),
        ({"prompt": [[1], []]}, "prompt", "'prompt[1]' is empty"),
        ({"prompt": [1, "a"]}, "prompt", "is a list of token ids and of something else"),
        ({"prompt": [[1], [2, 320]]}, "prompt", "token 1 of 'prompt[1]' is 320"),
        ({"prompt": [1, 320]}, "prompt", "token 1 of 'prompt' is 320"),
        ({"prompt": [-1]}, "prompt", "token 0 of 'prompt' is -1: the model's vocabulary is 0 to"),
        ({"prompt": [10**30]}, "prompt", "token 0 of 'prompt' is 1000"),
        ({"min_tokens": 9, "max_tokens": 8}, "min_tokens", "at most 'max_tokens', which is 8"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "needs 'stream': true"),
    ],
)
async def test_what_cannot_be_is_refused(
    core: ScriptedCore, fields: dict[str, Any], param: str, says_: str
) -> None:
    error = await refusal(core, **fields)
    assert says_ in error["message"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"


async def test_what_exceeds_the_context_is_refused_with_the_excess(core: ScriptedCore) -> None:
    error = await refusal(core, prompt=[5] * 100, max_tokens=30)
    assert error["code"] == "context_length_exceeded"
    assert "2 more than the context of 128" in error["message"]


async def test_a_prompt_that_fills_the_context_is_refused(core: ScriptedCore) -> None:
    error = await refusal(core, prompt=[5] * 128)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")


@pytest.mark.usefixtures("unread")
async def test_a_text_that_cannot_fit_is_refused_unread(core: ScriptedCore) -> None:
    error = await refusal(core, prompt="a" * 100_000)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
    assert "100000 characters, which is more than 128 tokens" in error["message"]


async def test_an_unknown_model_is_not_found(core: ScriptedCore) -> None:
    error = await refusal(core, 404, model="tunes")
    assert (error["code"], error["type"]) == ("model_not_found", "not_found_error")
    assert error["param"] == "model"


async def test_a_text_prompt_needs_a_tokenizer(tmp_path: Path) -> None:
    core = ScriptedCore(says(5, 6), an_info(tmp_path))
    assert "send the prompt as a list of token ids" in (await refusal(core))["message"]
    body = await complete(core_again(core), prompt=[1, 2], return_token_ids=True)
    assert body["choices"][0]["text"] == ""
    assert body["choices"][0]["token_ids"] == [5, 6, EOS]
    error = await refusal(core_again(core), prompt=[1], stop="x")
    assert (error["code"], error["param"]) == ("no_tokenizer", "stop")


@pytest.mark.parametrize("streams", [False, True])
async def test_what_the_engine_refuses_is_a_400(core: ScriptedCore, streams: bool) -> None:
    full = ScriptedCore(fails(FinishReason.REFUSED, "needs 9 pages, there are 8"), core.info)
    error = await refusal(full, 400, stream=streams)
    assert error["message"] == "needs 9 pages, there are 8"
    assert error["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    "script", [dies, fails(FinishReason.ERROR, "the logits were not finite", after=2)]
)
async def test_a_failing_engine_is_a_503(core: ScriptedCore, script: Script) -> None:
    error = await refusal(ScriptedCore(script, core.info), 503)
    assert error["type"] == "server_error"
    assert "secret" not in error["message"]


async def test_a_stream_that_fails_ends_with_its_error(core: ScriptedCore) -> None:
    broken = ScriptedCore(fails(FinishReason.ERROR, "logits were not finite", after=2), core.info)
    *chunks, last = await stream(broken, logprobs=0)
    assert sum(len(chunk["choices"][0]["logprobs"]["tokens"]) for chunk in chunks) == 2
    assert last["error"]["message"] == "logits were not finite"
    assert last["error"]["type"] == "server_error"


async def test_after_the_engine_died_nothing_is_served(core: ScriptedCore) -> None:
    async with serving(ScriptedCore(dies, core.info)) as app, connect(app) as client:
        await client.post("/v1/completions", json=HELLO)
        again = await client.post("/v1/completions", json=HELLO)
        assert again.status_code == 503
        assert again.headers["retry-after"]
