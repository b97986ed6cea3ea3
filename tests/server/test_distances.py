"""Pushes in each of their forms, right and wrong, small and large."""

import json
import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from motet.client.protocol import PushHead
from motet.errors import PayloadTooLarge, RequestError
from motet.server.openai import distances
from motet.server.openai.distances import PART, Push, parse_push, parse_update
from motet.server.openai.push_lines import MAX_LINE_BYTES, PushLines

MANY = {f'agent "{number}", or: [{number}]}},"': float(number) for number in range(50_000)}
"""Whose names look like JSON, where they are cut."""


def in_lines(body: bytes, size: int = 1000) -> Push:
    lines = PushLines()
    for start in range(0, len(body), size):
        lines.feed(body[start : start + size])
    return lines.finish()


def all_of(push: Push) -> dict[str, float]:
    assert push.num_agents == sum(map(len, push.parts))
    return dict(pair for part in push.parts for pair in part)


def test_distances_are_numbers_or_never() -> None:
    push = parse_push(b'{"distances": {"a": 0, "b": 1.5, "c": "never"}, "epoch": 7}')
    assert push == Push(PushHead(epoch=7), [[("a", 0.0), ("b", 1.5), ("c", math.inf)]], 3)


def test_buckets_say_the_same_by_distance() -> None:
    push = parse_push(b'{"buckets": {"0": ["a"], "1.5e1": ["b", "c"], "never": ["d"], "9": []}}')
    assert all_of(push) == {"a": 0, "b": 15, "c": 15, "d": math.inf}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"agent_data": {"a": 3}, "timestep_cnt": 7}', {"a": 3}),
        (b'{"timestep_data": {"3": ["a"]}, "timestep_cnt": 7}', {"a": 3}),
        (b'{"agent_data":{"a":3},"timestep_data":{"3":["a"]},"timestep_cnt":7}', {"a": 3}),
        (b'{"agent_data": {}, "timestep_data": null, "timestep_cnt": 7}', {}),
    ],
)
def test_an_update_is_a_whole_push(body: bytes, expected: dict[str, float]) -> None:
    push = parse_update(body)
    assert (push.head, all_of(push)) == (PushHead(epoch=7, mode="replace"), expected)


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\n\n"])
def test_lines_are_read_however_they_come(newline: bytes) -> None:
    head = b'{"epoch": 1, "unit": "seconds"}'
    lines = [head, b'{"agent": "a", "distance": 1}', b'{"b": 2, "c": "never"}', b'{"agent": 3}']
    for size in (1, 7, 10_000):
        push = in_lines(newline.join(lines), size)
        assert push.head == PushHead(epoch=1, unit="seconds")
        assert all_of(push) == {"a": 1, "b": 2, "c": math.inf, "agent": 3}


@pytest.mark.parametrize(
    "body",
    [
        b'{"timestep_data": {"1": {}}, "agent_data": {}}',
        b'{"agent_data": {}, "timestep_data": {"1": {}}}',
        b'{"x": {"1": {}}, "agent_data": {}, "timestep_data": {"1": {}}}',
        b'{"x": [{}], "agent_data": {}, "timestep_data": {}}',
    ],
)
def test_one_form_of_an_update_may_be_a_part_of_the_other(body: bytes) -> None:
    assert all_of(parse_update(body)) == {}


def test_no_agent_is_a_push_as_well() -> None:
    assert parse_push(b'{"distances": {}}').parts == [[]]
    assert in_lines(b"{}").parts == [[]]


@pytest.mark.parametrize("indent", [None, 1])
def test_a_large_push_is_cut_between_agents_only(indent: int | None) -> None:
    body = {"epoch": 1, "distances": MANY, "unit": "steps"}
    push = parse_push(json.dumps(body, indent=indent).encode())
    assert all_of(push) == MANY
    assert len(push.parts) > 1
    assert all(len(part) >= PART for part in push.parts[:-1])


@pytest.mark.parametrize("indent", [None, 1])
def test_large_buckets_are_cut_between_agents_only(indent: int | None) -> None:
    push = parse_push(json.dumps({"buckets": {"1": [*MANY], "2": ["z"]}}, indent=indent).encode())
    assert all_of(push) == dict.fromkeys(MANY, 1.0) | {"z": 2.0}


def test_both_forms_of_an_update_may_be_large() -> None:
    body = {"timestep_data": {"1": [*MANY]}, "agent_data": MANY, "timestep_cnt": 3}
    assert all_of(parse_update(json.dumps(body).encode())) == MANY


REMEDY = 'it must be a number from 0 on, or "never"'
BAD_VALUES = {
    "-1.5": "-1.5",
    "NaN": "NaN",
    "-Infinity": "-Infinity",
    "1e999": "1e999",
    "true": "true",
    "null": "null",
    '"soon"': '"soon"',
    "[1]": "a list",
    '{"b": 1}': "an object",
    "+1": "+1",
}
"""In JSON, or nearly -> as it is told."""


@pytest.mark.parametrize(("value", "told"), BAD_VALUES.items())
@pytest.mark.parametrize("before", [0, 30_000])
def test_the_first_agent_with_a_bad_distance_is_named(value: str, told: str, before: int) -> None:
    good = "".join(f'"agent-{number}": 1, ' for number in range(before))
    body = f'{{"epoch": 1, "distances": {{{good}"wrong": {value}, "worse": {value}}}}}'.encode()
    line = f'{{"epoch": 1}}\n{{"wrong": {value}}}\n'.encode()
    for parse, given in ((parse_push, body), (in_lines, line)):
        with pytest.raises(RequestError, match=re.escape(f"'wrong' is {told}: ")) as caught:
            parse(given)
        assert REMEDY in str(caught.value)
        assert caught.value.param == "distances"


@pytest.mark.parametrize("key", ["-1", "soon", "NaN", "Infinity", "1e999", " 1", "1_0", "٣", ""])
def test_a_bad_bucket_is_named_with_its_agent(key: str) -> None:
    body = json.dumps({"buckets": {"1": ["a"], key: ["b"]}}).encode()
    with pytest.raises(RequestError, match="the distance of agent 'b' is ") as caught:
        parse_push(body)
    assert caught.value.param == "buckets"


REFUSED: list[tuple[Callable[[bytes], Push], bytes, str]] = [
    (parse_push, b"", "cannot be read"),
    (parse_push, b"[1]", "cannot be read"),
    (parse_push, b"{}", "one of 'distances' and 'buckets'"),
    (parse_push, b'{"distances": null}', "one of 'distances' and 'buckets'"),
    (parse_push, b'{"distances": {}, "buckets": {}}', "give exactly one"),
    (parse_push, b'{"distances": 5}', "'distances' in the body cannot be read"),
    (parse_push, b'{"distances": ["a"]}', "'distances' in the body cannot be read"),
    (parse_push, b'{"distances": {"a": 1}} x', "cannot be read"),
    (parse_push, b'{"distances": {"": 1}}', "has 0 characters"),
    (parse_push, b'{"distances": {"%b": 1}}' % (b"a" * 257), "has 257 characters"),
    (parse_push, b'{"distances": {"\xff": 1}}', "cannot be read"),
    (parse_push, rb'{"distances": {"\ud800": 1}}', "cannot be read"),
    (parse_push, b'{"distances": {}, "distances": {}}', "the same key twice"),
    (parse_push, b'{"distances": {}, "epoch": NaN}', "cannot be read"),
    (parse_push, b'{"distances": {}, "epoch": -1}', "'epoch' is -1"),
    (parse_push, b'{"distances": {}, "epoch": 1.5}', "'epoch' is 1.5"),
    (parse_push, b'{"distances": {}, "unit": "hours"}', "'unit' is \"hours\""),
    (parse_push, b'{"distances": {}, "mode": "add"}', "'mode' is \"add\""),
    (parse_push, b'{"distances": ' + b"[" * 100_000, "cannot be read"),
    (parse_push, b'{"buckets": {"1": [5]}}', "'buckets' in the body cannot be read"),
    (parse_push, b'{"buckets": {"1": {"a": 1}}}', "'buckets' in the body cannot be read"),
    (parse_push, b'{"buckets": {"1": [""]}}', "has 0 characters"),
    (parse_update, b'{"agent_data": {"a": -1}}', "agent 'a' is -1"),
    (parse_update, b'{"agent_data": {}, "timestep_cnt": -1}', "'timestep_cnt' is -1"),
    (in_lines, b"", "has no line"),
    (in_lines, b'{"a": 1}\n{"b": 2}', "the first line says how"),
    (in_lines, b'{"epoch": -1}\n', "'epoch' is -1"),
    (in_lines, b"{}\n5\n", "cannot be read"),
    (in_lines, b'{}\n{"agent": "a", "distance": -1}', "agent 'a' is -1"),
    (in_lines, b'{}\n{"agent": "", "distance": 1}', "has 0 characters"),
    (in_lines, b'{}\n{"a": 1} {"b": 1}', "cannot be read"),
]


@pytest.mark.parametrize(("parse", "body", "says"), REFUSED)
def test_what_is_no_push_is_refused(parse: Callable[[bytes], Push], body: bytes, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(body)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 300


TOO_LARGE: dict[str, tuple[Callable[[bytes], Push], bytes]] = {
    "an id": (parse_push, b'{"distances": {"%b": 1, "b": 1}}' % (b"a," * 200_000)),
    "the rest": (parse_push, b'{"distances": {}, "x": "%b"}' % (b"a" * 300_000)),
    "a line": (in_lines, b'{}\n{"%b": 1}' % (b"a" * MAX_LINE_BYTES)),
}


@pytest.mark.parametrize(("parse", "body"), TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_what_cannot_be_cut_is_too_large(parse: Callable[[bytes], Push], body: bytes) -> None:
    with pytest.raises(PayloadTooLarge):
        parse(body)


@pytest.mark.parametrize(
    ("parse", "body"),
    [
        (parse_push, {"distances": dict.fromkeys("abcd", 1)}),
        (parse_push, {"buckets": {"1": ["a", "b"], "2": ["c", "d"]}}),
    ],
)
def test_more_agents_than_a_push_may_have_are_refused(
    monkeypatch: pytest.MonkeyPatch, parse: Callable[[bytes], Push], body: Any
) -> None:
    monkeypatch.setattr(distances, "MAX_AGENTS", 3)
    with pytest.raises(RequestError, match="more than 3 agents"):
        parse(json.dumps(body).encode())
    with pytest.raises(RequestError, match="more than 3 agents"):
        in_lines(b'{}\n{"a":1}\n{"b":1}\n{"c":1}\n{"d":1}')
