"""Only strict JSON of bounded size becomes a wire type, and errors name the field."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.client.protocol import CompletionRequest
from motet.errors import RequestError
from motet.server.body import convert, parse_object

HOSTILE = {
    "NaN": b'{"n": NaN}',
    "NaN temperature": b'{"temperature": NaN}',
    "minus infinity": b'{"temperature": -Infinity}',
    "beyond double": b'{"temperature": 1e999}',
    "lone surrogate in a known field": rb'{"prompt": "\ud800"}',
    "lone surrogate in an unknown field": rb'{"x": ["\udfff and more text"]}',
    "lone surrogate in a key": rb'{"\ud83d": 1}',
    "same key twice": b'{"model": "a", "model": "b"}',
    "same key twice, deeper": b'{"x": [{"a": 1, "a": 2}]}',
    "200,000 levels": b"[" * 200_000,
    "200,000 levels of objects": b'{"a":' * 200_000,
    "5,000 digits": b'{"seed": ' + b"9" * 5000 + b"}",
    "not UTF-8": b'{"model": "\xff"}',
    "UTF-16": '{"model": "a"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"model": "a"}',
    "trailing text": b"{} {}",
    "single quotes": b"{'model': 'a'}",
    "list": b"[1]",
    "null": b"null",
    "nothing": b"",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_not_strict_json_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError, match="body") as caught:
        parse_object(body)
    assert caught.value.code == "invalid_json"


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_refused(body: bytes) -> None:
    try:
        parse_object(body)
    except RequestError as error:
        str(error).encode()


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert parse_object(rb'{"prompt": "\ud83d\ude00"}') == {"prompt": "😀"}


def test_null_means_left_out() -> None:
    body = b'{"model": "m", "prompt": "p", "temperature": null, "stop": null}'
    assert convert(parse_object(body), CompletionRequest).temperature == 1.0


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("temperature", 2.5, "'temperature' is 2.5: expected float <= 2.0"),
        ("temperature", "hot", "'temperature' is \"hot\": expected float, got str"),
        ("temperature", True, "'temperature' is true: expected float, got bool"),
        ("top_p", 0, "'top_p' is 0: expected float > 0.0"),
        ("top_k", -2, "'top_k' is -2: expected int >= -1"),
        ("min_p", 1.1, "'min_p' is 1.1: expected float <= 1.0"),
        ("max_tokens", 0, "'max_tokens' is 0: expected int >= 1"),
        ("max_tokens", "7", "'max_tokens' is \"7\": expected int or null, got str"),
        ("max_tokens", 1.5, "'max_tokens' is 1.5: expected int or null, got float"),
        ("n", True, "'n' is true: expected int, got bool"),
        ("logprobs", 21, "'logprobs' is 21: expected int <= 20"),
        ("seed", 2**63, f"'seed' is {2**63}: expected int <= {2**63 - 1}"),
        ("seed", -(2**63) - 1, "expected int >="),
        ("seed", int("9" * 4001), f"'seed' is {'9' * 40}…: expected int <="),
        ("stop", ["x"] * 17, "'stop': expected array of length <= 16"),
        ("stop", ["x", "y" * 257], "'stop[1]': expected str of length <= 256"),
        ("stop", "", "'stop' is \"\": expected str of length >= 1"),
        ("stop", [""], "'stop[0]': expected str of length >= 1"),
        ("prompt", [1, 2.5], "'prompt[1]': expected int or str or array, got float"),
        ("prompt", {}, "'prompt': expected str or array, got object"),
        ("model", 7, "'model' is 7: expected str, got int"),
        ("stream_options", {"include_usage": 1}, "'stream_options.include_usage': expected bool"),
    ],
)
def test_a_value_out_of_bounds_is_named(field: str, value: Any, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        convert({"model": "m", "prompt": "p", field: value}, CompletionRequest)
    assert says in str(caught.value)
    assert caught.value.param == field


def test_a_missing_field_is_named() -> None:
    with pytest.raises(RequestError, match="missing required field model") as caught:
        convert({"prompt": "p"}, CompletionRequest)
    assert caught.value.code == "missing_field"
