"""Contract 2.5.3, 2.5.8 and 2.5.10: every form of prompt, rendered and counted."""

from typing import Any

import pytest
from tokenizers import Tokenizer

from tests.contract.contract_server import CHAT, Api, only_choice

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
