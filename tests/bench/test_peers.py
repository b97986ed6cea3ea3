"""motet and its peers on a tiny model: the same tokens, and a table that says what was measured."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from motet.bench.machine import Machine
from motet.bench.peers.__main__ import main, run
from motet.bench.peers.engine import Counts, Setup, Tokens
from motet.bench.peers.engines import ENGINES, NOT_COMPARED, EngineKind
from motet.bench.peers.measure import MeasureError, measure
from motet.bench.peers.motet_engine import fewest_adapters
from motet.bench.peers.outcome import Outcome, Task
from motet.bench.peers.report import COLUMNS, Report
from motet.bench.peers.workload import Scenario, Workload
from motet.errors import ConfigError

WORKLOAD = Workload(
    shape="tiny",
    num_prompts=6,
    input_len=9,
    output_len=5,
    num_adapters=3,
    repeat=2,
    dtype="float32",
)
OPTIONS = (
    *("--shape", "tiny", "--dtype", "float32", "--num-prompts", "6", "--input-len", "9"),
    *("--output-len", "5", "--num-adapters", "3", "--repeat", "2", "--threads", "1"),
)
MACHINE = Machine("a processor", 2, ("avx2",), 2**34, None, "3.11", "2026-11-21")


def a_task(directory: Path, engine: str = "motet", scenario: Scenario = Scenario.BASE) -> Task:
    return Task(engine, scenario, WORKLOAD, str(directory), "cpu", threads=1)


def an_outcome(
    engine: str, scenario: Scenario, seconds: Sequence[float] = (1.0, 0.5), token: int = 7
) -> Outcome:
    tokens: Tokens = [[token] * WORKLOAD.output_len for _ in range(WORKLOAD.num_prompts)]
    return Outcome(engine, scenario, tuple(seconds), (tokens, tokens), 0, 3, 2**20)


def a_report(*outcomes: Outcome, **notes: str) -> Report:
    return Report(MACHINE, 2, WORKLOAD, {"torch": "2"}, outcomes, notes, "a command")


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `--json` writes of a real run of the three engines that tests have."""
    path = tmp_path_factory.mktemp("peers") / "report.json"
    engines = ("--engines", "motet", "transformers", "peft")
    assert main([*OPTIONS, *engines, "--json", str(path)]) == 0
    report: dict[str, Any] = json.loads(path.read_bytes())
    return report


def test_greedy_tokens_are_those_of_transformers_and_peft(comparison: dict[str, Any]) -> None:
    tokens = {(o["engine"], o["scenario"]): o["tokens"] for o in comparison["outcomes"]}
    assert tokens["motet", "base"] == tokens["transformers", "base"]
    assert tokens["motet", "mixed"] == tokens["peft", "mixed"]
    assert tokens["motet", "base"] != tokens["motet", "mixed"]


def test_every_round_has_all_its_tokens_and_nothing_comes_from_a_cache(
    comparison: dict[str, Any],
) -> None:
    assert len(comparison["outcomes"]) == 4
    for outcome in comparison["outcomes"]:
        lengths = [[len(ids) for ids in tokens] for tokens in outcome["tokens"]]
        assert lengths == [[5] * 6] * 2
        assert len(outcome["seconds"]) == 2
        assert outcome["prefix_hits"] == 0
        assert outcome["adapters_in_step"] == (3 if outcome["scenario"] == "mixed" else 0)
        assert outcome["peak_bytes"] > 2**24


def test_no_two_prompts_begin_alike() -> None:
    rounds = [WORKLOAD.prompts(number) for number in range(WORKLOAD.repeat + 1)]
    first = [prompt[0] for prompts in rounds for prompt in prompts]
    assert len(set(first)) == len(first) == 18
    assert rounds == [WORKLOAD.prompts(number) for number in range(WORKLOAD.repeat + 1)]


def test_more_prompts_than_first_tokens_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"200 prompts in 3 rounds are 600 .* has 512"):
        replace(WORKLOAD, num_prompts=200)


def test_an_engine_that_raises_is_an_outcome(tmp_path: Path) -> None:
    outcome = run(a_task(tmp_path))
    assert outcome.error and "model" in outcome.error


def test_an_engine_whose_process_dies_is_an_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    assert run(a_task(tmp_path)).error == "its process ended with status 1"


@dataclass(frozen=True, slots=True)
class FakeEngine:
    setup: Setup
    num_missing: int = 0
    prefix_hits: int = 0

    def generate(self, prompts: Tokens, adapters: Sequence[str | None], num_tokens: int) -> Tokens:
        return [[0] * (num_tokens - self.num_missing) for _ in prompts]

    def counts(self) -> Counts:
        return Counts(self.prefix_hits, None)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"num_missing": 1}, "24 tokens for 6 prompts came back: there should be 5 for each of 6"),
        ({"prefix_hits": 16}, "16 prompt tokens came from the prefix cache"),
    ],
)
def test_work_that_was_not_done_is_not_timed(
    fault: dict[str, int], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = EngineKind(lambda setup: FakeEngine(setup, **fault), tuple(Scenario))
    monkeypatch.setitem(ENGINES, "fake", kind)
    with pytest.raises(MeasureError, match=message):
        measure(a_task(tmp_path, "fake"))


def test_only_the_mixed_scenario_loads_adapters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setups: list[Setup] = []

    def load(setup: Setup) -> FakeEngine:
        setups.append(setup)
        return FakeEngine(setup)

    monkeypatch.setitem(ENGINES, "fake", EngineKind(load, tuple(Scenario)))
    for scenario in Scenario:
        measure(a_task(tmp_path, "fake", scenario))
    assert [sorted(setup.adapters) for setup in setups] == [[], ["a0", "a1", "a2"]]


@pytest.mark.parametrize(
    ("adapters", "num_rows", "fewest"),
    [
        (["a", "b", "a", "b"], 4, 2),
        (["a", "b", "a", "b"], 2.5, 2),
        (["a", "b", "a", "b"], 2, 1),
        ([None, "a"], 2, 1),
        ([None, None], 2, 0),
    ],
)
def test_rows_per_step_say_how_many_adapters_ran_together(
    adapters: list[str | None], num_rows: float, fewest: int
) -> None:
    assert fewest_adapters(adapters, num_rows) == fewest


def test_a_row_compares_medians_with_the_reference() -> None:
    report = a_report(
        an_outcome("motet", Scenario.BASE, [0.25, 0.5]),
        an_outcome("transformers", Scenario.BASE, [1.0, 1.0]),
    )
    motet, transformers = report.rows()
    assert motet[:4] == ("motet", "base", "90.0\n(60.0\N{EN DASH}120.0)", "3.00")
    assert transformers[2:4] == ("30.0\n(30.0\N{EN DASH}30.0)", "1.00")


def test_a_row_shows_that_the_work_was_done() -> None:
    mixed = an_outcome("motet", Scenario.MIXED)
    [row] = a_report(mixed).rows()
    assert row[5:] == ("0", "3", "60", "float32", "1")
    [unsaid] = a_report(replace(mixed, prefix_hits=None, adapters_in_step=None)).rows()
    assert unsaid[5:7] == ("\N{EN DASH}", "3 planned")


def test_mixed_is_also_compared_with_the_base_of_the_same_engine() -> None:
    report = a_report(
        an_outcome("motet", Scenario.BASE, [0.4, 0.4]),
        an_outcome("motet", Scenario.MIXED, [0.5, 0.5]),
        an_outcome("peft", Scenario.MIXED, [1.0, 1.0]),
    )
    ratios = [row[3:5] for row in report.rows()]
    assert ratios == [("\N{EN DASH}", "\N{EN DASH}"), ("2.00", "0.80"), ("1.00", "\N{EN DASH}")]


def test_agreement_counts_sequences_and_first_tokens() -> None:
    reference = an_outcome("peft", Scenario.MIXED)
    [first, *others], second = reference.tokens
    tokens = ([[7, 8, 8, 8, 8], *others], [[8] * 5, *second[1:]])
    report = a_report(replace(reference, engine="motet", tokens=tokens), reference)
    assert first == [7] * 5
    assert [str(agreement) for agreement in report.agreements()] == [
        "mixed: motet and peft agree in 10 of 12 sequences and in 11 of 12 first tokens"
    ]


def test_engines_without_numbers_say_why() -> None:
    failed = Outcome("motet", Scenario.BASE, error="no room")
    report = a_report(failed, an_outcome("transformers", Scenario.BASE), vllm="not installed")
    rows = {row[0]: row[2:4] for row in report.rows()}
    assert rows["motet"] == ("failed", "\N{EN DASH}")
    assert rows["vllm"] == ("not installed", "\N{EN DASH}")
    assert report.footer()[:2] == ["motet, base failed: no room", "vllm: not installed"]


def test_the_table_ends_with_the_machine_and_the_command() -> None:
    machine, command = a_report().footer()
    assert machine.startswith("a processor (avx2), 2 cores, 16 GiB, no GPU; threads: 2; ")
    assert command == "a command"


def test_markdown_has_a_line_for_each_engine_and_the_conditions(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    code = main([*OPTIONS, "--engines", "peft", "--markdown", "--directory", str(tmp_path)])
    out = capfd.readouterr().out
    table = [line for line in out.splitlines() if line.startswith("|")]
    assert code == 1
    assert [line.count("|") for line in table] == [len(COLUMNS) + 1] * (3 + len(NOT_COMPARED))
    assert "| peft | mixed | failed |" in out
    assert "threads: 1" in out and "float32" in out
