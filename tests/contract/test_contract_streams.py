"""Contract 2.4: the order and the content of a stream's chunks."""

import json
from itertools import pairwise
from typing import Any

import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel
from transformers import AutoTokenizer

from tests.contract.contract_server import CHAT, Api, Models, Surface, both_surfaces

SAMPLED: dict[str, Any] = {"seed": 3, "max_tokens": 24}
SOME_END_EARLY: dict[str, Any] = {"n": 4, "seed": 5, "max_tokens": 40} | {
    "stop_token_ids": list(range(60, 75)),
}
"""Choices of different lengths."""

LOGPROBS = {
    "/v1/completions": {"logprobs": 3},
    "/v1/chat/completions": {"logprobs": True, "top_logprobs": 3},
}

CHUNK_TYPES: dict[str, type[BaseModel]] = {
    "/v1/completions": Completion,
    "/v1/chat/completions": ChatCompletionChunk,
}
WHOLE_TYPES: dict[str, type[BaseModel]] = {
    "/v1/completions": Completion,
    "/v1/chat/completions": ChatCompletion,
}
CHUNK_OBJECTS = {
    "/v1/completions": "text_completion",
    "/v1/chat/completions": "chat.completion.chunk",
}


def by_index(chunks: list[Any]) -> dict[int, list[Any]]:
    """What the chunks say of each choice."""
    said: dict[int, list[Any]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            said.setdefault(choice["index"], []).append(choice)
    return dict(sorted(said.items()))


@pytest.mark.parametrize("n", [1, 4])
def test_2_4_1_each_chat_choice_opens_with_the_role_and_says_it_once(api: Api, n: int) -> None:
    for choices in by_index(api.stream(CHAT, **SAMPLED, n=n)).values():
        assert choices[0]["delta"]["role"] == "assistant"
        assert not choices[0]["delta"].get("content")
        assert all("role" not in choice["delta"] for choice in choices[1:])
        assert any(choice["delta"].get("content") for choice in choices[1:])


@both_surfaces
@pytest.mark.parametrize("wish", [SAMPLED, SOME_END_EARLY], ids=["one", "several"])
def test_2_4_1_one_chunk_of_each_index_has_the_finish_reason_and_it_is_the_last(
    api: Api, surface: Surface, wish: dict[str, Any]
) -> None:
    said = by_index(api.stream(surface, **wish))
    assert list(said) == list(range(wish.get("n", 1)))
    for choices in said.values():
        assert [choice["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1)
        assert choices[-1]["finish_reason"] in ("stop", "length")


@both_surfaces
def test_2_4_1_done_comes_once_and_last(api: Api, surface: Surface) -> None:
    events = api.events(surface, **SAMPLED)
    assert events.count("[DONE]") == 1
    assert events[-1] == "[DONE]"


@both_surfaces
def test_2_4_2_the_finish_chunk_has_no_content(api: Api, surface: Surface) -> None:
    for choices in by_index(
        api.stream(surface, **SOME_END_EARLY, **LOGPROBS[surface.path])
    ).values():
        assert surface.text(choices[-1]) == ""
        assert choices[-1]["logprobs"] is None
    if surface is CHAT:
        assert choices[-1]["delta"] == {}


@both_surfaces
@pytest.mark.parametrize("usage", [False, True])
def test_2_4_3_every_chunk_has_the_required_fields_and_the_sdk_reads_it(
    api: Api, surface: Surface, usage: bool
) -> None:
    chunks = api.stream(surface, **SAMPLED, n=2, stream_options={"include_usage": usage})
    for chunk in chunks:
        assert {"id", "object", "created", "model", "choices"} <= set(chunk)
        assert chunk["object"] == CHUNK_OBJECTS[surface.path]
        if surface is CHAT:  # the type of completions has only whole answers
            CHUNK_TYPES[surface.path].model_validate_json(json.dumps(chunk), strict=True)
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1


@both_surfaces
def test_2_4_3_a_whole_answer_has_the_required_fields_too(api: Api, surface: Surface) -> None:
    answer = api.ask(surface, **SAMPLED, n=2, **LOGPROBS[surface.path])
    assert isinstance(answer["created"], int)
    WHOLE_TYPES[surface.path].model_validate_json(json.dumps(answer), strict=True)


WISHES: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0, "max_tokens": 24},
    "seeded": SAMPLED,
    "several that end early": SOME_END_EARLY,
    "a stop string": {"seed": 4, "max_tokens": 60, "stop": ["a", "t"]},
}


def joined(choices: list[dict[str, Any]], field: str) -> Any:
    """All logprobs of a choice's chunks, in the shape of one."""
    parts = [choice[field] for choice in choices if choice[field] is not None]
    return {key: [entry for part in parts for entry in part[key]] for key in parts[0]}


@both_surfaces
@pytest.mark.parametrize("model", ["tiny", "legal"])
@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)
def test_2_4_4_the_joined_stream_is_the_answer_that_is_not_streamed(
    api: Api, surface: Surface, wish: dict[str, Any], model: str
) -> None:
    fields = wish | LOGPROBS[surface.path] | {"model": model, "return_token_ids": True}
    whole = api.ask(surface, **fields)["choices"]
    streamed = by_index(api.stream(surface, **fields))
    assert [choice["index"] for choice in whole] == list(streamed)
    for expected, choices in zip(whole, streamed.values(), strict=True):
        assert "".join(map(surface.text, choices)) == surface.text(expected)
        assert [i for choice in choices for i in choice["token_ids"]] == expected["token_ids"]
        assert joined(choices, "logprobs") == expected["logprobs"]
        assert choices[-1]["finish_reason"] == expected["finish_reason"]
        assert choices[-1]["stop_reason"] == expected["stop_reason"]


@both_surfaces
@pytest.mark.parametrize("options", [{}, {"include_usage": True}])
def test_2_4_5_stream_options_need_a_stream(
    api: Api, surface: Surface, options: dict[str, Any]
) -> None:
    assert api.refusal(surface, stream_options=options)["param"] == "stream_options"
    assert api.refusal(surface, stream=False, stream_options=options)["param"] == "stream_options"


@both_surfaces
def test_2_4_5_without_the_option_no_chunk_has_usage(api: Api, surface: Surface) -> None:
    chunks = api.stream(surface, **SAMPLED)
    assert all(chunk["choices"] for chunk in chunks)
    assert all(chunk.get("usage") is None for chunk in chunks)


@both_surfaces
def test_2_4_5_the_usage_comes_once_at_the_end_with_no_choices(api: Api, surface: Surface) -> None:
    *chunks, last = api.stream(surface, **SAMPLED, n=2, stream_options={"include_usage": True})
    assert all(chunk["choices"] and chunk.get("usage") is None for chunk in chunks)
    assert last["choices"] == []
    whole = api.ask(surface, **SAMPLED, n=2)["usage"]
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [last["usage"][name] for name in counts] == [whole[name] for name in counts]


@both_surfaces
@pytest.mark.parametrize("at_the_end", [False, True])
def test_2_4_5_continuous_usage_grows_on_each_chunk(
    api: Api, surface: Surface, at_the_end: bool
) -> None:
    options = {"continuous_usage_stats": True, "include_usage": at_the_end}
    chunks = api.stream(surface, **SAMPLED, return_token_ids=True, stream_options=options)
    num_tokens = 0
    for chunk in chunks:
        usage = chunk["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        num_tokens += sum(len(choice["token_ids"]) for choice in chunk["choices"])
        if num_tokens:  # the role of a chat is said when its first tokens are there
            assert usage["completion_tokens"] == num_tokens
    assert chunks[-1]["usage"]["completion_tokens"] == num_tokens == SAMPLED["max_tokens"]
    assert bool(chunks[-1]["choices"]) is not at_the_end


@both_surfaces
@pytest.mark.parametrize("keeps", [False, True])
def test_2_4_6_nothing_of_a_stop_string_or_behind_it_is_shown(
    api: Api, surface: Surface, keeps: bool
) -> None:
    wish = {"temperature": 0, "max_tokens": 40}
    free = api.text(surface, **wish)
    stop = free[20:25]  # more than a token: its beginning must be held back
    end = free.index(stop) + (len(stop) if keeps else 0)
    chunks = api.stream(surface, **wish, stop=[stop], include_stop_str_in_output=keeps)
    [choices] = by_index(chunks).values()
    shown = ""
    for choice in choices:
        shown += surface.text(choice)
        assert free[:end].startswith(shown)
    assert shown == free[:end]
    assert choices[-1]["stop_reason"] == stop


@both_surfaces
def test_2_4_6_what_only_began_like_a_stop_string_is_shown_in_the_end(
    api: Api, surface: Surface
) -> None:
    wish = {"temperature": 0, "max_tokens": 20}
    free = api.text(surface, **wish)
    [choices] = by_index(api.stream(surface, **wish, stop=free[-3:] + "never")).values()
    assert "".join(map(surface.text, choices)) == free
    assert choices[-1]["finish_reason"] == "length"


@both_surfaces
@pytest.mark.parametrize("character", "é€")
def test_2_4_6_a_character_is_never_split(
    api: Api, surface: Surface, models: Models, character: str
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(models.base)
    ids = tokenizer(character, add_special_tokens=False)["input_ids"]
    byte_of = dict(zip(ids, character.encode(), strict=True))  # each token is a byte
    bias = dict.fromkeys(map(str, ids), 100)
    wish = {"n": 16, "seed": 1, "max_tokens": 40, "frequency_penalty": 2, "logit_bias": bias}
    num_shown = 0
    for choices in by_index(api.stream(surface, **wish, return_token_ids=True)).values():
        text = "".join(map(surface.text, choices))
        raw = bytes(byte_of[i] for choice in choices for i in choice["token_ids"])
        assert text.count(character) == raw.count(character.encode())
        num_shown += text.count(character)
    assert num_shown > 0


@both_surfaces
def test_2_4_7_choices_interleave_and_each_has_its_own_end(api: Api, surface: Surface) -> None:
    wish = {"n": 4, "seed": 5, "max_tokens": 40, "return_token_ids": True}
    free = [choice["token_ids"] for choice in api.ask(surface, **wish)["choices"]]
    for_some = (i for i in free[0][10:30] if any(i not in ids for ids in free))
    chunks = api.stream(surface, **wish, stop_token_ids=[next(for_some)])
    order = [choice["index"] for chunk in chunks for choice in chunk["choices"]]
    num_changes = sum(a != b for a, b in pairwise(order))
    assert num_changes > 2 * wish["n"]  # one after the other would be n - 1
    said = by_index(chunks)
    lengths = {sum(len(choice["token_ids"]) for choice in choices) for choices in said.values()}
    assert len(lengths) > 1
    assert {choices[-1]["finish_reason"] for choices in said.values()} == {"stop", "length"}
