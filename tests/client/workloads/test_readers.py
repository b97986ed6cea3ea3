"""Traces of others, in the forms in which they are published."""

from pathlib import Path

import pytest

from motet.client.workloads import READERS
from motet.client.workloads.trace import Passage, read_trace, write_trace
from motet.errors import ConfigError

MOONCAKE = """\
{"timestamp": 3000, "input_length": 1030, "output_length": 7, "hash_ids": [0, 1, 2]}
{"timestamp": 3000, "input_length": 512, "output_length": 0, "hash_ids": [0]}
{"timestamp": 4500, "input_length": 1024, "output_length": 9, "hash_ids": [0, 3]}
"""
BURSTGPT = """\
Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,230,1317,Conversation log
118,GPT-4,417,0,417,API log
120.5,GPT-4,1360,276,1636,API log
"""
BURSTGPT_3 = """\
Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
10,7,1.5,GPT-4,100,20,120,Conversation log
12,,0.5,GPT-4,50,10,60,API log
30,7,2.5,GPT-4,150,30,180,Conversation log
60,7,2.5,GPT-4,80,30,110,Conversation log
"""


def read(kind: str, text: str, directory: Path) -> Path:
    path = directory / f"{kind}.trace"
    path.write_text(text)
    return path


def test_mooncake_prompts_share_what_their_hash_ids_share(tmp_path: Path) -> None:
    trace = READERS["mooncake"](read("mooncake", MOONCAKE, tmp_path))
    first, second = trace.calls
    assert first.prompt == (Passage(0, 512), Passage(1, 512), Passage(2, 6))
    assert second.prompt == (Passage(0, 512), Passage(3, 512))
    assert [call.arrival_s for call in trace.calls] == [0.0, 1.5]
    assert [call.output.num_tokens for call in trace.calls] == [7, 9]
    assert first.agent != second.agent
    assert trace.header.parameters["skipped"] == 1


def test_burstgpt_counts_time_from_the_first_row_and_skips_failures(tmp_path: Path) -> None:
    trace = READERS["burstgpt"](read("burstgpt", BURSTGPT, tmp_path))
    assert [call.arrival_s for call in trace.calls] == [0.0, 40.0, 115.5]
    assert [call.num_prompt_tokens for call in trace.calls] == [472, 1087, 1360]
    assert [call.output.num_tokens for call in trace.calls] == [18, 230, 276]
    assert trace.header.parameters["skipped"] == 1
    assert len({call.agent for call in trace.calls}) == 3


def test_burstgpt_conversations_repeat_what_was_said(tmp_path: Path) -> None:
    trace = READERS["burstgpt"](read("burstgpt", BURSTGPT_3, tmp_path))
    first, single, second, fresh = trace.calls
    assert first.agent == second.agent == fresh.agent != single.agent
    assert second.prompt[:2] == (*first.prompt, first.output)
    assert second.num_prompt_tokens == 150
    assert len(fresh.prompt) == 1 and fresh.num_prompt_tokens == 80
    assert (first.next_s, second.next_s, fresh.next_s) == (20.0, 30.0, None)


@pytest.mark.parametrize(("kind", "text"), [("mooncake", MOONCAKE), ("burstgpt", BURSTGPT_3)])
def test_what_others_wrote_can_be_written_as_ours(kind: str, text: str, tmp_path: Path) -> None:
    trace = READERS[kind](read(kind, text, tmp_path))
    write_trace(trace, tmp_path / "ours")
    assert read_trace(tmp_path / "ours") == trace


@pytest.mark.parametrize("kind", ["mooncake", "burstgpt"])
def test_a_trace_in_which_nothing_is_served_is_empty(kind: str, tmp_path: Path) -> None:
    header = BURSTGPT.splitlines()[0]
    empty = READERS[kind](read(kind, header if kind == "burstgpt" else "", tmp_path))
    assert empty.calls == ()


@pytest.mark.parametrize(
    ("kind", "old", "new", "message"),
    [
        ("mooncake", '"input_length": 512', '"input_length": 600', "1 hash_ids .* 600: give .* 2"),
        ("mooncake", '"input_length": 512', '"inputs": 512', "missing .*`input_length`.: it has"),
        ("mooncake", "[0]}", "[0]", ":2: no line of a Mooncake trace .*truncated"),
        ("mooncake", "[0]", "[-1]", ":2: no line of a Mooncake trace .*>= 0"),
        ("mooncake", ": 512", ": -1", ":2: no line of a Mooncake trace .*>= 0"),
        ("burstgpt", "1087", "many", ":3: Request tokens is 'many': write a number, 0 or more"),
        ("burstgpt", "1087", "", ":3: Request tokens is '': write a number"),
        ("burstgpt", "1087", "nan", ":3: Request tokens is 'nan': write a number"),
        (
            "burstgpt",
            "45,ChatGPT,1087,230,1317,Conversation log",
            "45",
            ":3: Request tokens is 'None'",
        ),
        ("burstgpt", "Response tokens", "Responses", ":1: the columns Response tokens are missing"),
        ("burstgpt", "120.5", "-3", ":5: Timestamp is '-3'"),
    ],
)
def test_bad_files_are_named_with_line_and_value(
    kind: str, old: str, new: str, message: str, tmp_path: Path
) -> None:
    text = {"mooncake": MOONCAKE, "burstgpt": BURSTGPT}[kind]
    assert old in text
    path = read(kind, text.replace(old, new, 1), tmp_path)
    with pytest.raises(ConfigError, match=message) as caught:
        READERS[kind](path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", list(READERS))
def test_a_missing_file_is_named(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the trace .*none"):
        READERS[kind](tmp_path / "none")


@pytest.mark.parametrize("kind", list(READERS))
def test_a_file_that_is_something_else_is_refused(kind: str, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff\xfe")
    with pytest.raises(ConfigError, match="image"):
        READERS[kind](tmp_path / "image")
