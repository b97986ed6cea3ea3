"""`motet replay` from end to end, in this process and those that it starts."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from motet.bench.replay.arm import Arm
from motet.bench.replay.config import FORMATS, WORKLOADS, ArmsConfig
from motet.bench.replay.processes import run_jobs
from motet.bench.replay.result import Row
from motet.client.workloads import READERS, generate_trace
from motet.client.workloads import WORKLOADS as GENERATED
from motet.client.workloads.trace import read_trace
from motet.errors import EngineFailed
from tests.bench.replays import a_setting, small_trace
from tests.cli.commands import Commands
from tests.client.workloads.test_readers import BURSTGPT_3, MOONCAKE

SMALL = ("--agents", 12, "--steps", 6, "--pool-ratio", 0.7)
TWO = ("--eviction", "lru,distance_cost", "--prefetch", "off")


@pytest.fixture
def motet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(monkeypatch, capsys)


def test_two_arms_end_in_a_table_a_file_and_a_plot(motet: Commands, tmp_path: Path) -> None:
    file, plot = tmp_path / "out.json", tmp_path / "out.svg"
    ended = motet.run("replay", *SMALL, *TWO, "--json", file, "--plot", plot)
    assert (ended.code, ended.err) == (0, "")
    assert re.search(r"^ ?lru +\d", ended.out, re.MULTILINE)
    assert "Times are those of a model of a machine, h200-8b" in ended.out
    found = json.loads(file.read_text())
    assert {*found} == {"motet", "machine", "command", "trace", "cost_model", "rows"}
    assert found["trace"]["calls"] == len(generate_trace("independent", agents=12, steps=6).calls)
    assert found["trace"]["pool_bytes"] < found["trace"]["state_bytes"]
    assert {"name", "source"} < found["cost_model"].keys()
    assert [(row["eviction"], row["prefetch"]) for row in found["rows"]] == [
        ("lru", False),
        ("distance_cost", False),
    ]
    assert {field.name for field in msgspec.structs.fields(Row)} == {*found["rows"][0]}
    assert ElementTree.parse(plot).getroot().tag.endswith("svg")


def test_the_same_seed_gives_the_same_rows(motet: Commands, tmp_path: Path) -> None:
    rows = []
    for seed in (1, 1, 2):
        file = tmp_path / "out.json"
        motet.run("replay", *SMALL, *TWO, "--seed", seed, "--json", file, "--hints", "random")
        rows.append(json.loads(file.read_text())["rows"])
    assert rows[0] == rows[1] != rows[2]


def test_a_trace_that_was_written_gives_the_same_rows_again(
    motet: Commands, tmp_path: Path
) -> None:
    trace, one, other = (tmp_path / name for name in ("trace.jsonl", "one.json", "other.json"))
    motet.run("replay", *SMALL, *TWO, "--write-trace", trace, "--json", one)
    motet.run("replay", trace, "--pool-ratio", 0.7, *TWO, "--json", other)
    assert read_trace(trace) == generate_trace("independent", agents=12, steps=6)
    assert json.loads(one.read_text())["rows"] == json.loads(other.read_text())["rows"]


@pytest.mark.parametrize(("kind", "text"), [("mooncake", MOONCAKE), ("burstgpt", BURSTGPT_3)])
def test_traces_of_others_are_replayed(
    motet: Commands, tmp_path: Path, kind: str, text: str
) -> None:
    (tmp_path / "trace").write_text(text)
    ended = motet.run(
        *("replay", tmp_path / "trace", "--format", kind, *TWO, "--pool-bytes", "1GiB")
    )
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"{kind}: ")


def test_a_sweep_has_a_line_for_each_point(motet: Commands, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    ended = motet.run(
        *("replay", "--agents", 8, "--steps", 4, "--json", file),
        *("--sweep", "activity=0.2,0.5", "pool-ratio=0.9,1.5"),
    )
    assert (ended.code, ended.err) == (0, "")
    points = json.loads(file.read_text())["points"]
    assert [point["point"] for point in points] == [
        {"activity": activity, "pool-ratio": ratio}
        for activity in (0.2, 0.5)
        for ratio in (0.9, 1.5)
    ]
    assert all(len(point["rows"]) == 3 for point in points)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--pool-bytes", "1MiB"], r"--pool-bytes is 1048576: .* give \d+ or more"),
        (["--pool-bytes", "1GiB", "--pool-ratio", "1"], r"--pool-ratio is 1.0 beside"),
        (["--pool-ratio", "0.01"], r"--pool-ratio is 0.01: .* needs \d+ .* give [\d.]+ or more"),
        (["--pool-ratio", "nan"], "--pool-ratio is nan: give a share above 0"),
        (["--pool-ratio", "1", "--pool-split", "0.001"], "--pool-split is 0.001: that leaves"),
        (["--pool-ratio", "1", "--host-ratio", "0"], "--host-ratio is 0.0: .* or more"),
        (["--host-ratio", "-1"], "--host-ratio is -1.0: give"),
        (["--eviction", "fifo"], "--eviction has 'fifo': give lru or"),
        (["--prefetch", "some"], "--prefetch has 'some': give on or off"),
        (["--pool-split", "2"], "--pool-split has '2': give"),
        (["--hints", "truth"], "--hints has 'truth': give given or"),
        (["--noise-steps", "-1"], "--noise-steps is -1.0: give"),
        (["--workload", "city"], "there is no workload 'city': take one of"),
        (["--workload", "toolloop", "--steps", "3"], "the workload toolloop has no steps"),
        (["--activity", "7"], "activity is 7: give one"),
        (["--seed", "-1"], "seed is -1: give one"),
        (["--cost-model", "abacus"], "--cost-model is 'abacus': it must be"),
        (["--format", "mooncake"], "--format is mooncake, and no trace is given"),
        (["--jobs", "0"], "--jobs is 0: it must be"),
        (["--page-tokens", "0"], "--page-tokens is 0: it must be"),
        (["--json", "/no/such/directory/x"], "--json is /no/such/directory/x: give"),
        (["--sweep", "age=1"], "--sweep has 'age=1': give name=value,value of activity"),
        (["--sweep", "activity=x"], "--sweep has 'activity=x': give numbers"),
        (["/no/such/trace"], "cannot read the trace /no/such/trace"),
        (["/no/such/trace", "--agents", "3"], "--agents is for generated workloads"),
        (["/no/such/trace", "another"], "another: give one"),
    ],
)
def test_what_cannot_be_replayed_is_one_line(
    motet: Commands, arguments: list[str], error: str
) -> None:
    if not arguments[0].startswith("/"):
        arguments = arguments if "--agents" in arguments else [*arguments, *_few(arguments)]
    ended = motet.run("replay", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert re.search(error, ended.err) and ended.err.count("\n") == 1


def _few(arguments: list[str]) -> list[str]:
    return ["--agents", "4"] if "--workload" not in arguments else []


def test_help_names_all_workloads_and_formats() -> None:
    assert tuple(GENERATED) == WORKLOADS
    assert tuple(READERS) == FORMATS


def test_belady_is_told_the_truth_and_stands_once() -> None:
    arms = ArmsConfig(eviction="lru,belady", prefetch="on", hints="given,zero").arms
    assert [(arm.eviction, arm.hints.value) for arm in arms] == [
        ("lru", "given"),
        ("belady", "truth"),
        ("lru", "zero"),
    ]
    assert len(ArmsConfig().arms) == 6


def test_a_row_that_fails_says_which_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise EngineFailed("nothing goes on")

    monkeypatch.setattr("motet.bench.replay.processes.replay", fail)
    with pytest.raises(EngineFailed, match=r"^lru, no prefetch: nothing goes on$"):
        run_jobs([(a_setting(small_trace("rounds")), Arm("lru", False))], 1, lambda *_: None)


def test_a_row_whose_process_dies_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motet.bench.replay.processes.replay", lambda *_: sys.exit(7))
    with pytest.raises(EngineFailed, match="ended with status 7"):
        run_jobs([(a_setting(small_trace("rounds")), Arm("lru", False))], 1, lambda *_: None)


def test_an_interrupt_ends_all_at_once() -> None:
    command = [str(Path(sys.executable).with_name("motet")), "replay", "--agents", "50"]
    process = subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline_s = time.monotonic() + 60
    while not children.read_text() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "")
