"""Traces as files."""

from pathlib import Path

import pytest

from motet.client.workloads import READERS
from motet.client.workloads.announced import Announced
from motet.client.workloads.next_use import in_order
from motet.client.workloads.trace import (
    NEVER,
    Call,
    Header,
    Push,
    Trace,
    decode_lines,
    encode_lines,
    read_trace,
    write_trace,
)
from motet.errors import ConfigError
from tests.client.workloads.small import NAMES, a_call, small_trace

STEPPED = b'{"trace": 1, "workload": "w", "steps": 9}'
TIMED = b'{"trace": 1, "workload": "w"}'


def call_line(call_id: int, rest: str = "") -> bytes:
    text = f'"session": "s", "agent": "a", "prompt": [[1, 10]], "output": [2, 5]{rest}'
    return f'{{"call": {call_id}, {text}}}'.encode()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_read(name: str, tmp_path: Path) -> None:
    write_trace(small_trace(name), tmp_path / "trace.jsonl")
    assert read_trace(tmp_path / "trace.jsonl") == small_trace(name)
    assert READERS["motet"](tmp_path / "trace.jsonl") == small_trace(name)


def test_the_names_in_a_file_are_those_of_the_format() -> None:
    call = a_call(0, step=3, is_final=True, hint=2.0)
    trace = Trace(Header(workload="w", steps=4), (call,), (Push(3, {"b": 1}),))
    assert b"".join(encode_lines(trace.header, trace.lines())).decode() == (
        '{"trace":1,"workload":"w","seed":0,"parameters":{},"adapters":{},"steps":4}\n'
        '{"push":3,"distances":{"b":1}}\n'
        '{"call":0,"session":"s","agent":"a","program":null,"step":3,"arrival_s":null,'
        '"after":[],"delay_s":0.0,"prompt":[[1,10]],"output":[2,5],"adapter":null,"tool":null,'
        '"final":true,"next_step":null,"next_s":null,"hint":2.0}\n'
    )


def test_lines_are_read_one_by_one() -> None:
    def lines() -> list[bytes]:
        return [STEPPED, call_line(0, ', "step": 0'), b"", b"broken"]

    header, read = decode_lines(lines(), "trace")
    assert header.steps == 9
    first = next(read)
    assert isinstance(first, Call)
    assert first.num_prompt_tokens == 10
    with pytest.raises(ConfigError, match="trace:4: "):
        next(read)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "trace:1: no header of a trace"),
        ([b"PK\x03\x04"], "trace:1: no header .* the first line must be"),
        ([call_line(0)], "trace:1: no header"),
        ([b'{"trace": 2, "workload": "w"}'], "trace:1: .*version 2, and 1 is read: write it anew"),
        ([TIMED, b"{}"], "trace:2: neither a call nor a push: begin the line with one"),
        ([TIMED, b"[1]"], "trace:2: .*: correct this line"),
        ([TIMED, call_line(0)[:-2]], "trace:2: .*truncated: correct this line"),
        ([TIMED, call_line(0, ', "setp": 1')], "trace:2: .*unknown field `setp`"),
        ([TIMED, call_line(-1)], r"trace:2: .*>= 0 - at `\$.call`"),
        ([TIMED, call_line(0, ', "delay_s": -1')], r"trace:2: .*\$.delay_s"),
        ([TIMED, call_line(0).replace(b"[1, 10]", b"[1, 0]")], r"trace:2: .*\$.prompt\[0\]\[1\]"),
        ([TIMED, call_line(0).replace(b"[[1, 10]]", b"[]")], r"trace:2: .*\$.prompt"),
        ([TIMED, call_line(0), call_line(0)], "trace:3: there is a call 0 already: number"),
        ([TIMED, call_line(0, ', "after": [7]')], "trace:2: call 0 comes after call 7, .*first"),
        ([TIMED, call_line(0, ', "adapter": "x"')], "on adapter 'x', .*: add its rank"),
        ([TIMED, call_line(0, ', "step": 3')], "call 0 has step 3 in a world of None steps"),
        ([STEPPED, call_line(0)], "call 0 has step None in a world of 9 steps: give all"),
        (
            [STEPPED, call_line(0, ', "step": 3'), call_line(1, ', "step": 2')],
            "trace:3: call 1 of step 2 comes after step 3: sort calls by step",
        ),
        (
            [TIMED, call_line(0, ', "arrival_s": 3'), call_line(1, ', "arrival_s": 2')],
            "trace:3: call 1 arrives at 2.0 s, after one at 3.0 s: sort calls by arrival",
        ),
        ([STEPPED, call_line(0, ', "step": 9')], "call 0 is of step 9, and the header has 9 steps"),
        ([TIMED, b'{"push": 0, "distances": {}}'], "trace:2: a push of step 0 cannot come here"),
        (
            [STEPPED, call_line(0, ', "step": 3'), b'{"push": 2, "distances": {}}'],
            "trace:3: a push of step 2 cannot come here: write one .* before its calls",
        ),
        ([STEPPED, b'{"push": 0, "distances": {"a": -2}}'], "trace:2: .*>= -1"),
    ],
)
def test_bad_lines_are_named_with_what_to_do(lines: list[bytes], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        list(decode_lines(lines, "trace")[1])


def test_files_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the trace .*none: No such file"):
        read_trace(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"cannot write the trace .*: No such file"):
        write_trace(small_trace("rounds"), tmp_path / "none" / "trace")


def test_calls_are_numbered_in_the_order_in_which_they_are_made() -> None:
    calls = in_order(
        [
            a_call(10, agent="a", arrival_s=1.0),
            a_call(11, agent="a", after=(10,), delay_s=5.0),
            a_call(12, agent="b", arrival_s=2.0),
            a_call(13, agent="a", after=(11, 12), delay_s=0.25),
        ]
    )
    assert [(call.call_id, call.agent, call.after, call.next_s) for call in calls] == [
        (0, "a", (), 5.0),
        (1, "b", (), None),
        (2, "a", (0,), 0.25),
        (3, "a", (2, 1), None),
    ]


def test_a_push_has_what_is_not_known_already() -> None:
    announced = Announced()
    assert announced.push(0, {"a": 3, "b": 5}) == Push(0, {"a": 3, "b": 5})
    assert announced.push(1, {"a": 2, "b": 4}) is None
    assert announced.push(2, {"a": 0, "b": 3}) == Push(2, {"a": 0})
    announced.by_hint("a", 2, 4)
    assert announced.push(3, {"a": 3}) == Push(3, {"b": NEVER})
    announced.by_hint("a", 6, None)
    assert announced.push(7, {"b": 0}) == Push(7, {"b": 0})
    assert announced.push(9, {"b": 0}) is None
