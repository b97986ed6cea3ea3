"""POST /v1/chat/completions, from the conversation to the last token."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from motet.client.protocol import ChatChunk, ChatRequest, ChatResponse
from motet.engine import FinishReason, Request, TokenOutput
from motet.server.openai.large_json import MAX_REST_BYTES
from motet.server.openai.wishes import DEFAULT_ONLY
from motet.server.text.template import ChatTemplate
from motet.server.text.tokenizer import Tokenizer
from tests.server.scripted import (
    EOS,
    LETTER_A,
    PLAIN_TEMPLATE,
    UNSUPPORTED,
    ScriptedCore,
    an_info,
    an_output,
    connect,
    each_choice,
    fails,
    says,
    serving,
)

pytestmark = pytest.mark.anyio

HELLO = {"model": "base", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def core(model_dir: Path, tokenizer: Tokenizer) -> ScriptedCore:
    return ScriptedCore(says(*tokenizer.encode("a b 😀 c")[1:]), an_info(model_dir))


def core_again(core: ScriptedCore) -> ScriptedCore:
    return ScriptedCore(core.script, core.info)


async def post(
    core: ScriptedCore, status: int, template: ChatTemplate | None = PLAIN_TEMPLATE, **fields: Any
) -> Any:
    async with serving(core, template=template) as app, connect(app) as client:
        answer = await client.post("/v1/chat/completions", json=HELLO | fields)
        assert answer.status_code == status, answer.text
        return answer.json()


async def chat(core: ScriptedCore, **fields: Any) -> Any:
    """The answer's body."""
    body = await post(core, 200, **fields)
    msgspec.convert(body, ChatResponse)
    return body


async def refusal(core: ScriptedCore, status: int = 400, **fields: Any) -> Any:
    return (await post(core, status, **fields))["error"]


async def stream(core: ScriptedCore, **fields: Any) -> list[Any]:
    """The data of every event."""
    async with serving(core) as app, connect(app) as client:
        wish = HELLO | {"stream": True} | fields
        answer = await client.post("/v1/chat/completions", json=wish)
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = answer.text.split("\n\n")
        assert events.pop() == ""
        return [json.loads(e.removeprefix("data: ")) if "[DONE]" not in e else e for e in events]


async def test_an_answer_has_openai_s_shape(core: ScriptedCore, tokenizer: Tokenizer) -> None:
    body = await chat(core)
    assert body["id"].startswith("chatcmpl-")
    assert body["object"] == "chat.completion"
    assert body["model"] == body["system_fingerprint"] == "base"
    assert "prompt_token_ids" not in body
    [choice] = body["choices"]
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "content": "a b 😀 c", "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
        "stop_reason": None,
    }
    num_tokens = len(core.requests[0].prompt)
    assert body["usage"]["prompt_tokens"] == num_tokens
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 4}


async def test_a_conversation_is_rendered_without_a_second_beginning(
    core: ScriptedCore, tokenizer: Tokenizer
) -> None:
    messages = [{"role": "system", "content": "be"}, {"role": "user", "content": "hello"}]
    await chat(core, messages=messages)
    text = "system: be;user: hello;me:"
    assert core.requests[0].prompt == tuple(tokenizer.encode(text, add_special_tokens=False))
    assert core.requests[0].prompt != tuple(tokenizer.encode(text))


async def test_a_message_is_continued(core: ScriptedCore, tokenizer: Tokenizer) -> None:
    await chat(core, continue_final_message=True, add_generation_prompt=False)
    expected = tokenizer.encode("user: hello", add_special_tokens=False)
    assert core.requests[0].prompt == tuple(expected)


async def test_the_template_sees_what_the_client_sent(core: ScriptedCore) -> None:
    seen: list[Any] = []

    class Watching:
        def render(self, messages: Any, **options: Any) -> str:
            seen.extend([messages, options])
            return "text"

    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [{"role": "critic", "content": parts, "name": "x"}, {"role": "user", "content": ""}]
    await chat(core, template=Watching(), messages=messages, chat_template_kwargs={"think": True})
    options = {"add_generation_prompt": True, "continue_final_message": False}
    assert seen == [messages, options | {"kwargs": {"think": True}}]


async def test_without_a_limit_an_answer_may_fill_the_context(core: ScriptedCore) -> None:
    await chat(core)
    [request] = core.requests
    assert request.sampling.max_tokens == 128 - len(request.prompt)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 9},
        {"max_completion_tokens": 9},
        {"max_tokens": 9, "max_completion_tokens": 9},
    ],
)
async def test_the_limit_has_two_names(core: ScriptedCore, fields: dict[str, Any]) -> None:
    await chat(core, **fields)
    assert core.requests[0].sampling.max_tokens == 9


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(
    "logprobs", [{}, {"logprobs": True}, {"logprobs": True, "top_logprobs": 2}]
)
@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("stop", [[], ["😀"], ["b 😀"], [" c", "b"], ["nowhere"]])
async def test_a_stream_says_what_the_whole_answer_says(
    core: ScriptedCore, n: int, logprobs: dict[str, Any], ids: bool, stop: list[str]
) -> None:
    fields = {"n": n, **logprobs, "return_token_ids": ids, "stop": stop}
    whole = await chat(core, **fields)
    options = {"include_usage": True}
    *chunks, usage, done = await stream(core_again(core), **fields, stream_options=options)

    for chunk in chunks:
        msgspec.convert(chunk, ChatChunk)
        assert chunk["usage"] is None
    for choice in whole["choices"]:
        pieces = [c for chunk in chunks for c in chunk["choices"] if c["index"] == choice["index"]]
        check_order(pieces)
        assert (
            "".join(p["delta"].get("content", "") for p in pieces) == choice["message"]["content"]
        )
        assert pieces[-1]["finish_reason"] == choice["finish_reason"]
        assert pieces[-1]["stop_reason"] == choice["stop_reason"]
        if ids:
            assert [i for piece in pieces for i in piece["token_ids"]] == choice["token_ids"]
        if logprobs:
            streamed = [e for p in pieces if p["logprobs"] for e in p["logprobs"]["content"]]
            assert streamed == choice["logprobs"]["content"]
    assert [chunk.get("prompt_token_ids") for chunk in chunks] == [
        whole.get("prompt_token_ids"),
        *[None] * (len(chunks) - 1),
    ]
    assert (usage["choices"], usage["usage"]) == ([], whole["usage"])
    assert done == "data: [DONE]"


def check_order(pieces: list[Any]) -> None:
    """The role, then content, then an end without content."""
    assert pieces[0]["delta"] == {"role": "assistant", "content": ""}
    assert all(set(piece["delta"]) == {"content"} for piece in pieces[1:-1])
    assert pieces[-1]["delta"] == {}
    assert [piece["finish_reason"] is None for piece in pieces] == [True] * (len(pieces) - 1) + [
        False
    ]


async def test_usage_counts_on_with_every_chunk(core: ScriptedCore) -> None:
    chunks = await stream(core, n=2, stream_options={"continuous_usage_stats": True})
    assert chunks.pop() == "data: [DONE]"
    counted = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    assert counted == sorted(counted)
    assert counted[-1] > 0


async def test_logprobs_join_to_the_text(core: ScriptedCore) -> None:
    [choice] = (await chat(core, logprobs=True, top_logprobs=2))["choices"]
    entries = choice["logprobs"]["content"]
    content = choice["message"]["content"]
    assert bytes(byte for entry in entries for byte in entry["bytes"]).decode() == content
    assert entries[0]["token"] == "a"
    assert entries[0]["logprob"] == -0.5
    assert {len(entry["top_logprobs"]) for entry in entries} == {2}
    assert entries[0]["top_logprobs"][0] == {"token": "a", "logprob": -0.5, "bytes": [ord("a")]}


@pytest.mark.parametrize("fields", [{}, {"top_logprobs": 0}])
async def test_logprobs_without_alternatives_have_empty_lists(
    core: ScriptedCore, fields: dict[str, Any]
) -> None:
    [choice] = (await chat(core, logprobs=True, **fields))["choices"]
    assert {len(entry["top_logprobs"]) for entry in choice["logprobs"]["content"]} == {0}


async def test_minus_infinity_is_a_number(core: ScriptedCore) -> None:
    def surprises(request: Request) -> Iterator[TokenOutput]:
        output = an_output(request, 0, LETTER_A, FinishReason.LENGTH)
        yield msgspec.structs.replace(
            output, logprob=float("-inf"), top=((LETTER_A, float("-inf")),)
        )

    surprised = ScriptedCore(surprises, core.info)
    [choice] = (await chat(surprised, logprobs=True, top_logprobs=1))["choices"]
    [entry] = choice["logprobs"]["content"]
    assert entry["logprob"] == entry["top_logprobs"][0]["logprob"] == -9999.0


async def test_choices_have_texts_of_their_own(core: ScriptedCore) -> None:
    scripts = each_choice(says(LETTER_A), says(LETTER_A + 1, LETTER_A + 1))
    body = await chat(ScriptedCore(scripts, core.info), n=2)
    assert [choice["message"]["content"] for choice in body["choices"]] == ["a", "bb"]
    assert body["usage"]["completion_tokens"] == 2 + 3


async def test_an_adapter_is_named_with_its_digest(core: ScriptedCore) -> None:
    body = await chat(core, model="tuned")
    assert (body["model"], body["system_fingerprint"]) == ("tuned", "tuned@01234567")
    adapter = core.requests[0].adapter
    assert adapter and adapter.name == "tuned"


async def test_without_a_template_there_is_no_chat(core: ScriptedCore) -> None:
    error = await refusal(core, template=None)
    assert error["code"] == "no_chat_template"
    assert "/v1/completions" in error["message"]


async def test_without_a_tokenizer_that_is_why_there_is_no_chat(tmp_path: Path) -> None:
    error = await refusal(ScriptedCore(says(LETTER_A), an_info(tmp_path)))
    assert error["code"] == "no_tokenizer"
    assert "has no tokenizer" in error["message"]


NOT_DEFAULT: dict[str, Any] = {
    **UNSUPPORTED,
    "chat_template": "{{ messages }}",
    "tools": [{"type": "function"}],
    "tool_choice": "auto",
    "functions": [{}],
    "function_call": "auto",
    "audio": {"voice": "x"},
    "modalities": ["text", "audio"],
}


@pytest.mark.parametrize("field", DEFAULT_ONLY[ChatRequest])
async def test_what_is_not_supported_is_refused_by_name(core: ScriptedCore, field: str) -> None:
    error = await refusal(core, **{field: NOT_DEFAULT[field]})
    assert error["message"] == f"'{field}' is not supported in this version: leave it out"
    assert (error["code"], error["param"]) == ("unsupported_parameter", field)
    assert not core.requests


@pytest.mark.parametrize("field", ["tool_choice", "function_call"])
async def test_to_call_no_tool_is_no_wish(core: ScriptedCore, field: str) -> None:
    await chat(core, **{field: "none"})


def a_message(**changes: Any) -> dict[str, Any]:
    """It follows another."""
    message = {"role": "user", "content": "x"}
    return {"messages": [message, message | changes]}


@pytest.mark.parametrize(
    ("fields", "param", "says_"),
    [
        ({"messages": []}, "messages", "length >= 1"),
        ({"messages": "hello"}, "messages", "expected array"),
        ({"messages": [{"content": "x"}]}, "messages", "missing required field role"),
        (a_message(role=""), "messages", "'messages[1].role'"),
        (a_message(content=5), "messages", "'messages[1].content'"),
        (a_message(content=[{"type": "image_url"}]), "messages", "'messages[1].content[0]"),
        (a_message(tool_calls=[{}]), "messages", "'messages[1].tool_calls' is not supported"),
        (a_message(tool_call_id="x"), "messages", "'messages[1].tool_call_id' is not supported"),
        ({"top_logprobs": 2}, "top_logprobs", "needs 'logprobs': true"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "<= 20"),
        ({"max_tokens": 0}, "max_tokens", "at least 1"),
        (
            {"max_tokens": 1, "max_completion_tokens": 2},
            "max_completion_tokens",
            "'max_tokens' is 1 and 'max_completion_tokens' is 2",
        ),
        ({"stream_options": {}}, "stream_options", "needs 'stream': true"),
        ({"messages": [{"role": "user", "content": "x" * 500}]}, "messages", "128"),
        ({"messages": [{"role": "user", "content": "x" * 50_000}]}, "messages", "can hold"),
    ],
)
async def test_what_cannot_be_is_refused(
    core: ScriptedCore, fields: dict[str, Any], param: str, says_: str
) -> None:
    error = await refusal(core, **fields)
    assert says_ in error["message"]
    assert error["param"] == param


async def test_a_large_conversation_is_one_like_any_other(
    core: ScriptedCore, tokenizer: Tokenizer
) -> None:
    text = "a b" * (MAX_REST_BYTES // 4)
    messages = [{"role": "user", "content": text}, {"role": "user", "content": text}]
    roomy = ScriptedCore(core.script, an_info(Path(core.info.model), max_model_len=1_000_000))
    await chat(roomy, messages=messages)
    rendered = f"user: {text};" * 2 + "me:"
    ids = tokenizer.encode(rendered, add_special_tokens=False)
    assert roomy.requests[0].prompt == tuple(ids)


async def test_a_stream_that_fails_ends_with_its_error(core: ScriptedCore) -> None:
    broken = ScriptedCore(fails(FinishReason.ERROR, "not finite", after=2), core.info)
    *chunks, last = await stream(broken)
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "aa"
    assert last["error"]["message"] == "not finite"


async def test_a_refusal_of_the_engine_is_a_400(core: ScriptedCore) -> None:
    full = ScriptedCore(fails(FinishReason.REFUSED, "needs 9 pages"), core.info)
    for streams in (False, True):
        error = await refusal(core_again(full), stream=streams)
        assert (error["message"], error["code"]) == ("needs 9 pages", "context_length_exceeded")


async def test_end_of_sequence_is_no_part_of_the_logprobs(core: ScriptedCore) -> None:
    [choice] = (await chat(core, logprobs=True, return_token_ids=True))["choices"]
    assert choice["token_ids"][-1] == EOS
    assert len(choice["logprobs"]["content"]) == len(choice["token_ids"]) - 1
