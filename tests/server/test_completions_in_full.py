"""POST /v1/completions in full: lists, n, echo, logprobs and token ids combine, stream and not."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from motet.engine import FinishReason, Request, TokenOutput
from motet.server.text.jobs import MAX_CHOICES
from motet.server.text.tokenizer import Tokenizer
from tests.server.completions import HELLO, complete, core_again, refusal, stream
from tests.server.scripted import (
    EOS,
    LETTER_A,
    ScriptedCore,
    an_info,
    an_output,
    babbles,
    connect,
    each_choice,
    fails,
    says,
    serving,
    until,
)

pytestmark = pytest.mark.anyio

PROMPTS: dict[str, tuple[Any, int]] = {
    "text": ("hello 😀", 1),
    "texts": (["hello", "b 😀"], 2),
    "ids": ([5, 6, 7], 1),
    "lists of ids": ([[5, 6, 7], [8]], 2),
    "mixed": (["hello", [5, 6, 7], "b"], 3),
}
"""Prompt, and how many it is."""


def says_its_own(request: Request) -> Iterator[TokenOutput]:
    """What tells the prompt and the choice apart, also by its length."""
    letters = [LETTER_A + len(request.prompt)] * (1 + request.sampling.choice)
    for index, token_id in enumerate(letters):
        yield an_output(request, index, token_id)
    yield an_output(request, len(letters), EOS, FinishReason.STOP)


@pytest.fixture
def core(model_dir: Path) -> ScriptedCore:
    return ScriptedCore(says_its_own, an_info(model_dir))


COMBINATIONS = [
    {"n": n, "echo": echo, "logprobs": logprobs, "return_token_ids": ids, "max_tokens": max_tokens}
    for n, echo, logprobs, ids, max_tokens in product(
        (1, 3), (False, True), (None, 0, 2), (False, True), (0, 9)
    )
    if echo or max_tokens
]


@pytest.mark.parametrize("fields", COMBINATIONS, ids=str)
async def test_a_stream_says_what_the_whole_answer_says(
    core: ScriptedCore, tokenizer: Tokenizer, fields: dict[str, Any]
) -> None:
    for prompt, num_prompts in PROMPTS.values():
        whole = await complete(core_again(core), prompt=prompt, **fields)
        check_whole(whole, tokenizer, prompt, num_prompts, fields)
        *chunks, usage, done = await stream(
            core_again(core), prompt=prompt, **fields, stream_options={"include_usage": True}
        )
        assert joined(chunks) == whole["choices"]
        assert (usage["choices"], usage["usage"]) == ([], whole["usage"])
        assert done == "data: [DONE]"


def check_whole(
    body: Any, tokenizer: Tokenizer, prompt: Any, num_prompts: int, fields: dict[str, Any]
) -> None:
    choices, n = body["choices"], fields["n"]
    assert [choice["index"] for choice in choices] == [*range(num_prompts * n)]
    prompts = prompt if num_prompts > 1 else [prompt]
    num_prompt_tokens = num_tokens = 0
    for choice in choices:
        given, k = prompts[choice["index"] // n], choice["index"] % n
        ids = tokenizer.encode(given) if isinstance(given, str) else given
        said = (
            tokenizer.spelled([LETTER_A + len(ids)]).text * (1 + k) if fields["max_tokens"] else ""
        )
        echo = tokenizer.spelled(ids).text if fields["echo"] else ""
        assert choice["text"] == echo + said
        assert choice["finish_reason"] == ("stop" if said else "length")
        num_generated = len(said) + bool(said)  # and its end
        num_tokens += num_generated
        num_prompt_tokens += len(ids) if k == 0 else 0
        assert ("token_ids" in choice) == ("prompt_token_ids" in choice)
        assert ("token_ids" in choice) == fields["return_token_ids"]
        if fields["return_token_ids"]:
            assert choice["prompt_token_ids"] == ids
            assert len(choice["token_ids"]) == num_generated
        check_logprobs(choice, len(ids) * fields["echo"], num_generated, fields["logprobs"])
    usage = body["usage"]
    assert usage["prompt_tokens"] == num_prompt_tokens
    assert usage["completion_tokens"] == num_tokens
    assert usage["total_tokens"] == num_prompt_tokens + num_tokens
    assert usage["prompt_tokens_details"] == {"cached_tokens": 4 * num_prompts}


def check_logprobs(choice: Any, num_echoed: int, num_generated: int, num_top: int | None) -> None:
    if num_top is None:
        assert choice["logprobs"] is None
        return
    logprobs = choice["logprobs"]
    assert {len(values) for values in logprobs.values()} == {num_echoed + num_generated}
    is_null = [True] * bool(num_echoed) + [False] * (num_echoed + num_generated - bool(num_echoed))
    assert [value is None for value in logprobs["token_logprobs"]] == is_null
    assert [value is None for value in logprobs["top_logprobs"]] == is_null
    for top in logprobs["top_logprobs"]:
        assert top is None or max(1, num_top) <= len(top) <= num_top + 1
    offsets = logprobs["text_offset"]
    assert offsets == sorted(offsets)
    assert offsets[-1] <= len(choice["text"])


def joined(chunks: list[Any]) -> list[Any]:
    """The choices of a stream as those of one answer."""
    choices: dict[int, Any] = {}
    for chunk in chunks:
        assert chunk["usage"] is None
        [piece] = chunk["choices"]
        if piece["index"] not in choices:
            choices[piece["index"]] = piece
            continue
        whole = choices[piece["index"]]
        assert whole["finish_reason"] is None
        assert "prompt_token_ids" not in piece
        whole["text"] += piece["text"]
        whole |= {key: piece[key] for key in ("finish_reason", "stop_reason")}
        if "token_ids" in piece:
            whole["token_ids"] += piece["token_ids"]
        for key, values in (piece["logprobs"] or {}).items():
            whole["logprobs"][key] += values
    return [choices[index] for index in sorted(choices)]


async def test_choices_of_a_stream_interleave(core: ScriptedCore) -> None:
    endless = ScriptedCore(babbles, core.info)
    *chunks, _ = await stream(endless, n=2, max_tokens=100)
    indices = [chunk["choices"][0]["index"] for chunk in chunks]
    assert indices != sorted(indices)


async def test_a_choice_that_stops_is_aborted_and_the_others_go_on(core: ScriptedCore) -> None:
    scripts = each_choice(babbles, says(*[LETTER_A + 1] * 100, end=FinishReason.LENGTH))
    endless = ScriptedCore(scripts, core.info)
    body = await complete(endless, n=2, max_tokens=100, stop="aaa")
    first, second = body["choices"]
    assert (first["text"], first["stop_reason"]) == ("", "aaa")
    assert (second["text"], second["finish_reason"]) == ("b" * 100, "length")
    assert endless.aborted == {endless.requests[0].request_id}
    assert body["usage"]["completion_tokens"] == 3 + 100


async def test_choices_that_all_stop_are_all_aborted(core: ScriptedCore) -> None:
    endless = ScriptedCore(babbles, core.info)
    async with serving(endless) as app, connect(app) as client:
        await client.post("/v1/completions", json=HELLO | {"n": 3, "max_tokens": 100, "stop": "a"})
        await until(lambda: endless.aborted == {r.request_id for r in endless.requests})
        assert len(endless.requests) == 3
        assert not app.state.service.engine.num_waiting


async def test_choices_have_the_answer_s_id_and_their_index(core: ScriptedCore) -> None:
    body = await complete(core, prompt=["a", "b"], n=2)
    assert [r.request_id for r in core.requests] == [f"{body['id']}-{index}" for index in range(4)]


async def test_one_choice_that_fails_fails_the_answer(core: ScriptedCore) -> None:
    scripts = each_choice(babbles, fails(FinishReason.ERROR, "not finite", after=2))
    broken = ScriptedCore(scripts, core.info)
    error = await refusal(broken, 503, n=2, max_tokens=50)
    assert error["message"] == "not finite"
    *chunks, last = await stream(ScriptedCore(scripts, core.info), n=2, max_tokens=50)
    assert [c["choices"][0]["text"] for c in chunks if c["choices"][0]["index"] == 1][:2]
    assert last["error"]["message"] == "not finite"


async def test_every_way_to_stop_reaches_the_answer(core: ScriptedCore) -> None:
    fields = {"include_stop_str_in_output": True, "logit_bias": {"5": -1}, "n": 2}
    by_text = await complete(core, **fields, prompt=[5], stop=["bb"])
    assert [c["text"] for c in by_text["choices"]] == ["b", "bb"]
    assert [c["stop_reason"] for c in by_text["choices"]] == [None, "bb"]
    by_token = await complete(core_again(core), **fields, prompt=[5], stop_token_ids=[EOS])
    assert [c["stop_reason"] for c in by_token["choices"]] == [EOS, EOS]
    assert [r.sampling.logit_bias for r in core.requests] == [((5, -1.0),)] * 2


async def test_usage_counts_on_with_every_chunk(core: ScriptedCore) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    *chunks, usage, _ = await stream(core, prompt=["a", "b"], n=2, stream_options=options)
    counted = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    assert counted == sorted(counted)
    assert counted[0] < counted[-1] == usage["usage"]["completion_tokens"]


async def test_a_prompt_is_cut_on_its_left(core: ScriptedCore) -> None:
    body = await complete(
        core, prompt=[[5, 6, 7], "a b c" * 500], truncate_prompt_tokens=2, echo=True, max_tokens=0
    )
    first, second = core.requests
    assert first.prompt == (6, 7)
    assert len(second.prompt) == 2
    assert body["choices"][1]["text"] == " c"
    assert body["usage"]["prompt_tokens"] == 4


async def test_a_long_echo_is_an_echo_like_any_other(
    core: ScriptedCore, tokenizer: Tokenizer
) -> None:
    text = "a b" * 5000
    roomy = ScriptedCore(core.script, an_info(Path(core.info.model), max_model_len=100_000))
    fields = {"prompt": text, "echo": True, "max_tokens": 0, "logprobs": 1}
    [choice] = (await complete(roomy, **fields))["choices"]
    assert choice["text"] == text
    *chunks, _ = await stream(core_again(roomy), **fields)
    assert joined(chunks) == [choice]


@pytest.mark.parametrize("best_of", [1, 3])
async def test_no_choice_is_left_out(core: ScriptedCore, best_of: int) -> None:
    error = await refusal(core, n=2, best_of=best_of)
    assert f"'best_of' is {best_of}" in error["message"]
    assert (error["code"], error["param"]) == ("unsupported_parameter", "best_of")
    body = await complete(core_again(core), n=2, best_of=2)
    assert len(body["choices"]) == 2


@pytest.mark.usefixtures("unread")
async def test_too_many_choices_are_refused_unread(core: ScriptedCore) -> None:
    error = await refusal(core, prompt=["a"] * MAX_CHOICES, n=2)
    assert f"more than {MAX_CHOICES}" in error["message"]
