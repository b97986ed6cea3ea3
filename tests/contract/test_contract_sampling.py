"""Contract 2.5: prompts, sampling, logprobs and stops."""

from typing import Any

import pytest
from tokenizers import Tokenizer

from tests.contract.contract_server import (
    MAX_MODEL_LEN,
    SURFACES,
    Api,
    Models,
    Surface,
    both_surfaces,
    error_in,
    serving,
)

CHAT = SURFACES["chat"]
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 16}
CHAT_LOGPROBS: dict[str, Any] = {"seed": 1, "max_tokens": 24, "logprobs": True}
EOS = 2
ONLY_EOS = {"logit_bias": {str(EOS): 100}}
"""The model ends its answer as soon as it may."""


@pytest.fixture(scope="module")
def tokenizer(models: Models) -> Tokenizer:
    return Tokenizer.from_file(str(models.base / "tokenizer.json"))


def only_choice(answer: dict[str, Any]) -> dict[str, Any]:
    [choice] = answer["choices"]
    assert isinstance(choice, dict)
    return choice


def test_2_5_1_without_the_field_chat_logprobs_are_null(api: Api) -> None:
    for fields in ({}, {"logprobs": False}, {"logprobs": None}):
        assert only_choice(api.ask(CHAT, **GREEDY, **fields))["logprobs"] is None


@pytest.mark.parametrize("k", [None, 0, 1, 5, 20])
@pytest.mark.parametrize("model", ["tiny", "legal"])
def test_2_5_1_each_chat_token_has_its_alternatives(api: Api, model: str, k: int | None) -> None:
    choice = only_choice(api.ask(CHAT, **CHAT_LOGPROBS, top_logprobs=k, model=model))
    entries = choice["logprobs"]["content"]
    for entry in entries:
        assert entry["logprob"] <= 0
        assert len(entry["top_logprobs"]) == (k or 0)
        likely = [top["logprob"] for top in entry["top_logprobs"]]
        assert likely == sorted(likely, reverse=True)
        for top in entry["top_logprobs"]:
            if "\ufffd" not in top["token"]:
                assert bytes(top["bytes"]) == top["token"].encode()
    text = choice["message"]["content"]
    joined = b"".join(bytes(entry["bytes"]) for entry in entries)
    assert joined.decode(errors="replace") == text
    if "\ufffd" not in text:
        assert "".join(entry["token"] for entry in entries) == text


def test_2_5_1_tokens_of_ascii_join_to_the_text(api: Api, tokenizer: Tokenizer) -> None:
    ascii_ids = [i for i in range(3, 320) if tokenizer.decode([i]).isascii()][:300]
    bias = dict.fromkeys(map(str, ascii_ids), 100)
    choice = only_choice(api.ask(CHAT, seed=2, max_tokens=30, logprobs=True, logit_bias=bias))
    tokens = [entry["token"] for entry in choice["logprobs"]["content"]]
    assert "".join(tokens) == choice["message"]["content"]
    assert len(tokens) == 30


@pytest.mark.parametrize("k", [21, -1])
def test_2_5_1_more_chat_alternatives_than_twenty_are_refused(api: Api, k: int) -> None:
    assert api.refusal(CHAT, logprobs=True, top_logprobs=k)["param"] == "top_logprobs"


def test_2_5_1_what_cannot_come_has_minus_9999(api: Api) -> None:
    wish = {"min_tokens": 5, "max_tokens": 5, "logprobs": True, "top_logprobs": 20, "top_k": 1}
    choice = only_choice(api.ask(CHAT, **wish))
    for entry in choice["logprobs"]["content"]:
        assert all(-9999.0 <= top["logprob"] <= 0 for top in entry["top_logprobs"])


@pytest.mark.parametrize("k", [0, 1, 5, 20])
@pytest.mark.parametrize("model", ["tiny", "medical"])
def test_2_5_2_each_position_has_k_entries_and_the_chosen_token(
    api: Api, model: str, k: int
) -> None:
    choice = only_choice(api.ask(seed=1, logprobs=k, max_tokens=16, model=model))
    logprobs = choice["logprobs"]
    assert {len(values) for values in logprobs.values()} == {16}
    for token, logprob, top in zip(
        logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True
    ):
        assert k <= len(top) <= k + 1
        assert logprob <= 0
        assert logprob in top.values()
        assert token in top or "token_id:" in "".join(top)


@pytest.mark.parametrize("k", [21, -1])
def test_2_5_2_more_entries_than_twenty_are_refused(api: Api, k: int) -> None:
    assert api.refusal(logprobs=k)["param"] == "logprobs"


@pytest.mark.parametrize("max_tokens", [0, 1, 5])
@pytest.mark.parametrize("k", [0, 3])
def test_2_5_2_with_echo_only_the_first_token_has_no_logprob(
    api: Api, max_tokens: int, k: int
) -> None:
    wish: dict[str, Any] = {
        "prompt": [7, 5, 3, 9],
        "echo": True,
        "logprobs": k,
        "max_tokens": max_tokens,
    }
    logprobs = only_choice(api.ask(**wish))["logprobs"]
    assert {len(values) for values in logprobs.values()} == {4 + max_tokens}
    assert [value is None for value in logprobs["token_logprobs"]] == [True] + [False] * (
        3 + max_tokens
    )
    assert logprobs["top_logprobs"][0] is None
    assert all(value <= 0 for value in logprobs["token_logprobs"][1:])


PROMPTS: dict[str, tuple[Any, int]] = {
    "text": ("hello", 1),
    "texts": (["hello", "world"], 2),
    "token ids": ([5, 6, 7], 1),
    "lists of token ids": ([[5, 6, 7], [8, 9]], 2),
    "texts and token ids": (["hello", [5, 6, 7], "world"], 3),
}
"""Prompt -> number of prompts in it."""


def prompt_of(tokenizer: Tokenizer, prompt: str | list[int]) -> list[int]:
    ids: list[int] = tokenizer.encode(prompt).ids if isinstance(prompt, str) else prompt
    return ids


@pytest.mark.parametrize(("prompt", "count"), PROMPTS.values(), ids=PROMPTS)
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("echo", [False, True])
@pytest.mark.parametrize("logprobs", [None, 2])
def test_2_5_3_every_form_of_prompt_combines_with_echo_logprobs_and_n(
    api: Api, tokenizer: Tokenizer, prompt: Any, count: int, n: int, echo: bool, logprobs: int
) -> None:
    wish = {"prompt": prompt, "n": n, "echo": echo, "logprobs": logprobs, "seed": 1}
    wish |= {"max_tokens": 6, "return_token_ids": True, "ignore_eos": True}
    choices = api.ask(**wish)["choices"]
    assert [choice["index"] for choice in choices] == list(range(count * n))
    each = prompt if count > 1 else [prompt]
    for choice in choices:
        ids = prompt_of(tokenizer, each[choice["index"] // n])
        assert choice["prompt_token_ids"] == ids
        assert len(choice["token_ids"]) == 6
        assert choice["text"].startswith(tokenizer.decode(ids)) or not echo
        if logprobs is None:
            assert choice["logprobs"] is None
        else:
            assert len(choice["logprobs"]["tokens"]) == 6 + echo * len(ids)
    texts: dict[int, str] = {}
    for chunk in api.stream(**wish):
        for choice in chunk["choices"]:
            texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
    assert texts == {choice["index"]: choice["text"] for choice in choices}


@pytest.mark.parametrize("prompt", ["hello world", [3, 4, 5, 6, 7, 8]])
@pytest.mark.parametrize("kept", [1, 3, 1000])
def test_2_5_3_a_truncated_prompt_keeps_its_right_end(
    api: Api, tokenizer: Tokenizer, prompt: Any, kept: int
) -> None:
    answer = api.ask(prompt=prompt, truncate_prompt_tokens=kept, return_token_ids=True)
    ids = prompt_of(tokenizer, prompt)[-kept:]
    assert only_choice(answer)["prompt_token_ids"] == ids
    assert answer["usage"]["prompt_tokens"] == len(ids)


@both_surfaces
@pytest.mark.parametrize("seed", [0, 7, -1, 2**63 - 1, -(2**63)])
def test_2_5_4_the_same_seed_gives_the_same_text(api: Api, surface: Surface, seed: int) -> None:
    wish = {"seed": seed, "n": 3, "max_tokens": 24}
    first, second = (
        [surface.text(choice) for choice in api.ask(surface, **wish)["choices"]] for _ in "12"
    )
    assert first == second
    assert len(set(first)) == 3


@both_surfaces
def test_2_5_4_another_seed_and_no_seed_give_another_text(api: Api, surface: Surface) -> None:
    wishes: list[dict[str, Any]] = [{"seed": 1}, {"seed": 2}, {}, {}]
    assert len({api.text(surface, **wish, max_tokens=24) for wish in wishes}) == 4


@both_surfaces
@pytest.mark.parametrize(
    ("seed", "bound"), [(-(2**63) - 1, "greater_than_equal"), (2**63, "less_than_equal")]
)
def test_2_5_4_a_seed_beyond_64_bits_is_refused_in_the_words_of_vllm(
    api: Api, surface: Surface, seed: int, bound: str
) -> None:
    answer = api.http.post(surface.path, json=surface.beginning | {"seed": seed})
    error = error_in(answer, 400)
    assert (error["param"], error["code"]) == ("seed", bound)
    assert bound in answer.text


@both_surfaces
@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("keeps", [False, True])
def test_2_5_5_a_stop_string_ends_the_text_and_is_named(
    api: Api, surface: Surface, as_list: bool, keeps: bool
) -> None:
    free = api.text(surface, **GREEDY)
    stop = free[6:8]
    end = free.index(stop) + (len(stop) if keeps else 0)
    wish: dict[str, Any] = {"stop": ["never-comes", stop] if as_list else stop}
    answer = api.ask(surface, **GREEDY, **wish, include_stop_str_in_output=keeps)
    choice = only_choice(answer)
    assert surface.text(choice) == free[:end]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", stop)


@both_surfaces
def test_2_5_5_a_stop_token_ends_the_text_and_is_named(api: Api, surface: Surface) -> None:
    free = only_choice(api.ask(surface, **GREEDY, return_token_ids=True))["token_ids"]
    wish = GREEDY | {"stop_token_ids": [free[5]], "return_token_ids": True}
    choice = only_choice(api.ask(surface, **wish))
    assert choice["token_ids"] == free[: free.index(free[5]) + 1]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", free[5])


@both_surfaces
def test_2_5_5_the_limit_of_the_length_has_no_stop_reason(api: Api, surface: Surface) -> None:
    choice = only_choice(api.ask(surface, **GREEDY))
    assert (choice["finish_reason"], choice["stop_reason"]) == ("length", None)


@both_surfaces
@pytest.mark.parametrize("num_tokens", [1, 7, 33])
def test_2_5_6_ignore_eos_generates_exactly_max_tokens(
    api: Api, surface: Surface, num_tokens: int
) -> None:
    answer = api.ask(surface, max_tokens=num_tokens, ignore_eos=True, **ONLY_EOS)
    assert answer["usage"]["completion_tokens"] == num_tokens
    assert only_choice(answer)["finish_reason"] == "length"


@both_surfaces
def test_2_5_6_min_tokens_delays_the_end_of_sequence(api: Api, surface: Surface) -> None:
    assert api.ask(surface, max_tokens=20, **ONLY_EOS)["usage"]["completion_tokens"] == 1
    answer = api.ask(surface, max_tokens=20, min_tokens=9, **ONLY_EOS)
    assert answer["usage"]["completion_tokens"] == 10
    assert only_choice(answer)["finish_reason"] == "stop"


@both_surfaces
def test_2_5_6_min_tokens_delays_stop_strings(api: Api, surface: Surface) -> None:
    free = api.text(surface, **GREEDY)
    wish = GREEDY | {"stop": [free[0]], "min_tokens": 8}
    assert api.ask(surface, **wish | {"min_tokens": 0})["usage"]["completion_tokens"] < 8
    assert api.ask(surface, **wish)["usage"]["completion_tokens"] >= 8


def test_2_5_6_without_max_tokens_chat_has_the_rest_of_the_context(models: Models) -> None:
    with serving(models, max_model_len=48) as api:
        usage = api.ask(CHAT, ignore_eos=True)["usage"]
        assert usage["total_tokens"] == 48
        usage = api.ask(prompt=[5] * 40, ignore_eos=True)["usage"]
        assert usage["total_tokens"] == 48


def test_2_5_6_without_max_tokens_a_completion_has_the_sixteen_of_openai(api: Api) -> None:
    assert api.ask(ignore_eos=True)["usage"]["completion_tokens"] == 16


TOO_LONG: dict[str, tuple[str, str, Any]] = {
    "output of a completion": ("completions", "max_tokens", MAX_MODEL_LEN),
    "output of a chat": ("chat", "max_completion_tokens", MAX_MODEL_LEN),
    "token ids": ("completions", "prompt", [5] * MAX_MODEL_LEN),
    "text": ("completions", "prompt", "x " * MAX_MODEL_LEN),
    "messages": ("chat", "messages", [{"role": "user", "content": "x " * MAX_MODEL_LEN}]),
}
"""What is too long -> where, the field and its value."""


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("where", "field", "value"), TOO_LONG.values(), ids=TOO_LONG)
def test_2_5_6_what_never_fits_the_context_is_refused(
    api: Api, where: str, field: str, value: Any, stream: bool
) -> None:
    error = api.refusal(SURFACES[where], **{field: value}, stream=stream)
    assert error["code"] == "context_length_exceeded"
    assert error["param"] in (field, "max_tokens")


BAD_ANYWHERE: dict[str, dict[str, Any]] = {
    "bias of no token": {"logit_bias": {"320": 1}},
    "bias of no number": {"logit_bias": {"a": 1}},
    "bias below every token": {"logit_bias": {"-1": 1}},
    "stop token of no vocabulary": {"stop_token_ids": [320]},
    "stop token below every token": {"stop_token_ids": [-1]},
}
BAD_PROMPTS: dict[str, Any] = {"no text": "", "no prompts": [], "no token ids": [[]]}
BAD_MESSAGES: dict[str, Any] = {
    "none": [],
    "without role": [{"content": "a"}],
    "only text": ["a"],
    "content that is a number": [{"role": "user", "content": 1}],
    "part without type": [{"role": "user", "content": [{"text": "a"}]}],
    "image": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
}


@both_surfaces
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wish", BAD_ANYWHERE.values(), ids=BAD_ANYWHERE)
def test_2_5_7_a_bad_token_id_is_refused(
    api: Api, surface: Surface, wish: dict[str, Any], stream: bool
) -> None:
    assert api.refusal(surface, **wish, stream=stream)["param"] in wish


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("prompt", BAD_PROMPTS.values(), ids=BAD_PROMPTS)
def test_2_5_7_a_prompt_without_tokens_is_refused(api: Api, prompt: Any, stream: bool) -> None:
    assert api.refusal(prompt=prompt, stream=stream)["param"] == "prompt"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("messages", BAD_MESSAGES.values(), ids=BAD_MESSAGES)
def test_2_5_7_bad_messages_are_refused(api: Api, messages: Any, stream: bool) -> None:
    assert api.refusal(CHAT, messages=messages, stream=stream)["param"] == "messages"


@both_surfaces
@pytest.mark.parametrize("body", [b"", b"[]", b'"text"', b"null", b"{", b"\xff"])
def test_2_5_7_a_body_that_is_no_object_is_refused(api: Api, surface: Surface, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    error_in(api.http.post(surface.path, content=body, headers=headers), 400)


@both_surfaces
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_2_5_7_another_content_type_is_refused(
    api: Api, surface: Surface, kind: str | None
) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = api.http.post(surface.path, content=b'{"prompt": "a"}', headers=headers)
    assert error_in(answer, 400)["code"] == "unsupported_content_type"


@both_surfaces
def test_2_5_7_unknown_fields_change_nothing(api: Api, surface: Surface) -> None:
    unknown = {"no_such_field": {"a": [1]}, "metadata": {"a": "b"}, "store": True}
    assert api.text(surface, **GREEDY, **unknown) == api.text(surface, **GREEDY)


def rendered(api: Api, tokenizer: Tokenizer, **fields: Any) -> str:
    """The prompt that a conversation becomes."""
    answer = api.ask(CHAT, max_tokens=1, return_token_ids=True, **fields)
    text: str = tokenizer.decode(answer["prompt_token_ids"], skip_special_tokens=False)
    return text


def test_2_5_8_content_parts_read_as_text(api: Api, tokenizer: Tokenizer) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    prompt = rendered(api, tokenizer, messages=[{"role": "user", "content": parts}])
    assert prompt == "<s>[user] one\ntwo</s>[assistant] "


def test_2_5_8_a_role_is_what_the_template_allows(api: Api, tokenizer: Tokenizer) -> None:
    prompt = rendered(api, tokenizer, messages=[{"role": "judge", "content": "well"}])
    assert prompt == "<s>[judge] well</s>[assistant] "


def test_2_5_8_the_final_message_is_continued_without_a_new_turn(
    api: Api, tokenizer: Tokenizer
) -> None:
    messages = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "I am"}]
    prompt = rendered(
        api, tokenizer, messages=messages, continue_final_message=True, add_generation_prompt=False
    )
    assert prompt == "<s>[user] hello</s>[assistant] I am"


@pytest.mark.parametrize("prompt", ["hello", "one two three", [5, 6, 7]])
@pytest.mark.parametrize("n", [1, 3])
def test_2_5_10_usage_counts_the_tokens_of_the_tokenizer_once(
    api: Api, tokenizer: Tokenizer, prompt: Any, n: int
) -> None:
    answer = api.ask(prompt=prompt, n=n, max_tokens=9, return_token_ids=True)
    usage = answer["usage"]
    num_generated = sum(len(choice["token_ids"]) for choice in answer["choices"])
    assert usage["prompt_tokens"] == len(prompt_of(tokenizer, prompt))
    assert usage["completion_tokens"] == num_generated
    assert usage["total_tokens"] == usage["prompt_tokens"] + num_generated


@pytest.mark.parametrize("n", [1, 3])
def test_2_5_10_usage_of_a_chat_counts_the_rendered_prompt(api: Api, n: int) -> None:
    answer = api.ask(CHAT, n=n, max_tokens=9, return_token_ids=True)
    assert answer["usage"]["prompt_tokens"] == len(answer["prompt_token_ids"])
