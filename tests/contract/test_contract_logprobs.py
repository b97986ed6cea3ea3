"""Contract 2.5.1 and 2.5.2: logprobs of chats and of completions."""

from typing import Any

import pytest
from tokenizers import Tokenizer

from tests.contract.contract_server import CHAT, Api, only_choice

GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 16}
CHAT_LOGPROBS: dict[str, Any] = {"seed": 1, "max_tokens": 24, "logprobs": True}


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
