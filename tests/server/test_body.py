"""Only strict JSON of bounded size becomes a wire type, and errors name the field."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.client.protocol import ChatRequest, CompletionRequest
from motet.errors import PayloadTooLarge, RequestError
from motet.server.openai.convert import convert
from motet.server.openai.large_json import MAX_REST_BYTES, parse_large_object
from motet.server.openai.strict_json import parse_object

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


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"model": "a", "n": NaN}', "'n' in the body has NaN, which is no JSON number"),
        (b'{"x": {"y": [1, -Infinity]}}', "'x' in the body has -Infinity"),
        (b'{"a": [1e999, 1]}', "'a' in the body has a number that is too large"),
        (rb'{"prompt": ["\ud800"]}', "'prompt' in the body escapes half a surrogate pair"),
        (rb'{"x": {"\udfff": 1}}', "'x' in the body escapes half"),
        (b'{"model": "a", "model": "b"}', "'model' in the body has the same key twice"),
        (b'{"x": [{"a": 1, "a": 2}]}', "'x' in the body has the same key twice"),
        (b'{"seed": %b}' % (b"9" * 5000), "'seed' in the body has a number of thousands of digits"),
    ],
)
def test_the_field_that_is_not_strict_json_is_named(body: bytes, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_object(body)
    assert says in str(caught.value)
    assert caught.value.param == says.split("'")[1]


@pytest.mark.parametrize(
    "body", [rb'{"\ud83d": 1}', b'{"%b": NaN}' % (b"x" * 65), b'{"a\\nb": NaN}', b"[NaN]"]
)
def test_a_field_that_cannot_be_repeated_is_not(body: bytes) -> None:
    with pytest.raises(RequestError, match=r"^the body") as caught:
        parse_object(body)
    assert caught.value.param is None


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_refused(body: bytes) -> None:
    try:
        parse_object(body)
    except RequestError as error:
        str(error).encode()


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert parse_object(rb'{"prompt": "\ud83d\ude00"}') == {"prompt": "😀"}


LARGE = {
    "text": "a\n[€]" * MAX_REST_BYTES,
    "list of a text": ["[" * MAX_REST_BYTES],
    "ids": [*range(MAX_REST_BYTES)],
    "list of ids": [[*range(MAX_REST_BYTES)]],
    "lists of ids": [[*range(MAX_REST_BYTES)], [7], [*range(MAX_REST_BYTES)]],
    "texts and ids": ["a" * MAX_REST_BYTES, [5, 6], "[1, 2"],
}


@pytest.mark.parametrize("prompt", LARGE.values(), ids=LARGE.keys())
@pytest.mark.parametrize("indent", [None, 1])
def test_a_large_prompt_is_read_as_a_small_one(prompt: Any, indent: int | None) -> None:
    fields = {"model": "m", "prompt": prompt, "stop": ["x"], "seed": None}
    body = json.dumps(fields, indent=indent).encode()
    wish = convert(parse_large_object(body, "prompt"), CompletionRequest)
    assert wish == convert(parse_object(body), CompletionRequest)


LARGE_TEXT = b'"%b"' % (b"a" * MAX_REST_BYTES)
LARGE_HOSTILE = {
    "NaN": b'{"prompt": %b, "n": NaN}' % LARGE_TEXT,
    "same key twice": b'{"prompt": %b, "prompt": "b"}' % LARGE_TEXT,
    "same key twice, the large one last": b'{"prompt": "b", "prompt": %b}' % LARGE_TEXT,
    "same key twice, deeper": b'{"prompt": %b, "x": {"a": 1, "a": 2}}' % LARGE_TEXT,
    "lone surrogate": rb'{"prompt": "\ud800%b"}' % LARGE_TEXT[1:-1],
    "lone surrogate elsewhere": rb'{"x": "\udfff", "prompt": %b}' % LARGE_TEXT,
    "not UTF-8": b'{"prompt": "\xff%b"}' % LARGE_TEXT[1:-1],
    "many levels": b"[" * MAX_REST_BYTES,
    "trailing text": b'{"prompt": %b} {}' % LARGE_TEXT,
    "list": b"[%b]" % LARGE_TEXT,
    "unending": b'{"prompt": %b' % LARGE_TEXT,
    "many lists": b'{"prompt": [%b[]]}' % (b"[]," * MAX_REST_BYTES),
    "a list among ids": b'{"prompt": [%b[]]}' % (b"1," * MAX_REST_BYTES),
    "a fraction among ids": b'{"prompt": [%b1.5]}' % (b"1," * MAX_REST_BYTES),
    "thousands of digits": b'{"prompt": [%b]}' % (b"9" * MAX_REST_BYTES),
}


@pytest.mark.parametrize("body", LARGE_HOSTILE.values(), ids=LARGE_HOSTILE.keys())
def test_a_large_body_is_as_strict(body: bytes) -> None:
    with pytest.raises(RequestError, match=r"body|'prompt"):
        parse_large_object(body, "prompt")


def test_a_large_list_has_few_entries() -> None:
    with pytest.raises(RequestError, match=r"^'prompt' has \d+ entries: at most 4096") as caught:
        parse_large_object(LARGE_HOSTILE["many lists"], "prompt")
    assert caught.value.param == "prompt"


TEXT = "a\\[€]😀" * (MAX_REST_BYTES // 2)
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "a text": [{"role": "user", "content": TEXT}],
    "among others": [
        {"role": "system", "content": "short", "name": None},
        {"content": TEXT, "role": "user", "name": "x"},
        {"role": "assistant", "content": None},
    ],
    "the same again": [{"role": "user", "content": TEXT}, {"role": "user", "content": TEXT}],
    "parts": [
        {"role": "user", "content": [{"type": "text", "text": t} for t in (TEXT, "b", TEXT)]}
    ],
    "many of medium size": [{"role": "user", "content": TEXT[:3000]} for _ in range(100)],
    "a name as long as its text": [
        {"role": "user", "name": "n" * 2000, "content": "n" * 2000},
        {"role": "user", "content": TEXT},
    ],
}


@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("escapes", [False, True])
def test_a_large_conversation_is_read_as_a_small_one(
    messages: Any, indent: int | None, escapes: bool
) -> None:
    fields = {"model": "m", "messages": messages, "temperature": 0.5}
    body = json.dumps(fields, indent=indent, ensure_ascii=escapes).encode()
    wish = convert(parse_large_object(body, "messages"), ChatRequest)
    assert wish == convert(parse_object(body), ChatRequest)


def a_conversation(message: bytes) -> bytes:
    return b'{"messages": [{"role": "user", "content": %b}, %b]}' % (LARGE_TEXT, message)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (b'{"role": "user", "role": "user"}', "'messages[1]' in the body has the same key twice"),
        (b'{"content": "a", "content": %b}' % LARGE_TEXT, "same key twice"),
        (b'{"content": [{"text": "a", "text": %b}]}' % LARGE_TEXT, "'messages[1].content[0]'"),
        (b'{"role": NaN}', "the body is not valid JSON"),
        (b'{"role": 1e999}', "'messages[1]' in the body has a number that is too large"),
        (rb'{"content": "\ud800"}', "the body is not valid JSON"),
        (rb'{"content": "\ud800%b"}' % LARGE_TEXT[1:-1], "the body is not valid JSON"),
        (b'{"content": "\xff%b"}' % LARGE_TEXT[1:-1], "not valid UTF-8"),
        (b"[]", "'messages[1]' in the body is wrong: Expected object, got array"),
        (b'{"content": [%b1]}' % (b"1," * 1000), "expected"),
        (b'{"content": [%b{}]}' % (b"{}," * 5000), "'messages[1].content' has 5001 entries"),
    ],
)
def test_a_large_conversation_is_as_strict(message: bytes, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        convert(parse_large_object(a_conversation(message), "messages"), ChatRequest)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "message",
    [
        b'{"role": "%b"}' % (b"a" * MAX_REST_BYTES),
        b'{"role": "user", "content": {"x": "%b"}}' % (b"a" * 900),
    ],
)
def test_nothing_but_the_texts_of_a_conversation_may_be_large(message: bytes) -> None:
    body = b'{"messages": [%b]}' % b",".join([message] * 400)
    with pytest.raises(PayloadTooLarge, match="without its 'messages' is larger than 256 KiB"):
        parse_large_object(body, "messages")


def test_nothing_but_the_prompt_may_be_large() -> None:
    body = b'{"prompt": "a", "x": [%b[]]}' % (b"[]," * MAX_REST_BYTES)
    with pytest.raises(PayloadTooLarge, match="without its 'prompt' is larger than 256 KiB"):
        parse_large_object(body, "prompt")


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
        ("max_tokens", -1, "'max_tokens' is -1: expected int >= 0"),
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
        (
            "stream_options",
            {"include_usage": 1},
            "'stream_options.include_usage' is 1: expected bool",
        ),
    ],
)
def test_a_value_out_of_bounds_is_named(field: str, value: Any, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        convert({"model": "m", "prompt": "p", field: value}, CompletionRequest)
    assert says in str(caught.value)
    assert caught.value.param == field


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("seed", -(2**63) - 1, "greater_than_equal"),
        ("seed", 2**63, "less_than_equal"),
        ("top_p", 0, "greater_than"),
        ("stop", ["x"] * 17, "less_than_equal"),
        ("seed", "7", "invalid_value"),
    ],
)
def test_the_code_says_which_bound_was_crossed(field: str, value: Any, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        convert({"model": "m", "prompt": "p", field: value}, CompletionRequest)
    assert caught.value.code == code


def test_a_missing_field_is_named() -> None:
    with pytest.raises(RequestError, match="missing required field prompt") as caught:
        convert({"model": "m"}, CompletionRequest)
    assert caught.value.code == "missing_field"
