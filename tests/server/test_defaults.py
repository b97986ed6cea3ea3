"""What the model's generation_config.json says holds where the client says nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from motet.client.protocol import ChatRequest, SamplingFields
from motet.errors import ModelError
from motet.server.openai.convert import convert
from motet.server.text.defaults import SAMPLING_KEYS, SamplingDefaults

SHIPPED = {
    "temperature": 0.6,
    "top_p": 0.95,
    "top_k": 20,
    "min_p": 0.1,
    "repetition_penalty": 1.05,
    "do_sample": True,
    "eos_token_id": [1, 2],
    "transformers_version": "5.23.0",
}
BODY: dict[str, object] = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize("key", SAMPLING_KEYS)
def test_each_key_is_a_default(tmp_path: Path, key: str) -> None:
    defaults = load(tmp_path, SHIPPED)
    wish = convert(defaults.apply(BODY), ChatRequest)
    assert getattr(wish, key) == SHIPPED[key]


@pytest.mark.parametrize("key", SAMPLING_KEYS)
def test_what_the_client_says_wins_also_when_it_is_the_usual_value(
    tmp_path: Path, key: str
) -> None:
    usual = getattr(SamplingFields(), key)
    wish = convert(load(tmp_path, SHIPPED).apply(BODY | {key: usual}), ChatRequest)
    assert getattr(wish, key) == usual != SHIPPED[key]


def test_other_keys_of_the_file_touch_no_request(tmp_path: Path) -> None:
    assert load(tmp_path, SHIPPED).values.keys() == set(SAMPLING_KEYS)


def test_a_body_is_left_as_it_came(tmp_path: Path) -> None:
    body = dict(BODY)
    load(tmp_path, SHIPPED).apply(body)
    assert body == BODY


def test_the_limit_is_kept_apart_from_limits_of_clients(tmp_path: Path) -> None:
    defaults = load(tmp_path, {"max_new_tokens": 7})
    assert defaults.max_tokens == 7
    assert defaults.apply(BODY) == BODY


def test_null_is_no_default(tmp_path: Path) -> None:
    content = {**dict.fromkeys(SAMPLING_KEYS), "max_new_tokens": None}
    assert load(tmp_path, content) == SamplingDefaults({})


def test_without_the_option_the_file_is_not_read(tmp_path: Path) -> None:
    assert load(tmp_path, {"temperature": "warm"}, "none") == SamplingDefaults({})


def test_a_model_without_the_file_has_no_defaults(tmp_path: Path) -> None:
    assert SamplingDefaults.load(str(tmp_path), "auto") == SamplingDefaults({})


WRONG = {
    "below": ("temperature", -0.5, r"temperature -0.5 \(Expected float >= 0.0\)"),
    "above": ("temperature", 3, r"temperature 3 \(Expected float <= 2.0\)"),
    "excluded": ("top_p", 0, r"top_p 0 \(Expected float > 0.0\)"),
    "text": ("min_p", "0.1", r"min_p '0.1' \(Expected float, got str\)"),
    "fraction": ("top_k", 2.5, r"top_k 2.5 \(Expected int, got float\)"),
    "list": ("repetition_penalty", [1.0], r"repetition_penalty \[1.0\]"),
    "limit": ("max_new_tokens", -1, r"max_new_tokens -1 \(Expected int >= 0\)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_value_that_no_request_may_have_stops_the_start(tmp_path: Path, case: str) -> None:
    key, value, message = WRONG[case]
    with pytest.raises(
        ModelError, match=f"generation_config.json has {message}.*--generation-config none"
    ):
        load(tmp_path, {key: value})


@pytest.mark.parametrize("text", ["{", "[]", '{"temperature": NaN}', "[" * 10**5, "\xff"])
def test_a_file_that_is_no_json_object_stops_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "generation_config.json").write_text(text, "latin-1")
    with pytest.raises(ModelError, match=r"generation_config\.json cannot be read"):
        SamplingDefaults.load(str(tmp_path), "auto")


def test_the_operator_sees_what_applies_in_one_line(tmp_path: Path) -> None:
    defaults = load(tmp_path, {"temperature": 0.6, "top_k": 20, "max_new_tokens": 7})
    assert str(defaults) == "temperature 0.6, top_k 20, max_new_tokens 7"
    assert str(SamplingDefaults({})) == ""


def load(directory: Path, content: dict[str, Any], mode: str = "auto") -> SamplingDefaults:
    (directory / "generation_config.json").write_text(json.dumps(content))
    return SamplingDefaults.load(str(directory), mode)
