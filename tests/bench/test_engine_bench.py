"""The bench of the engine: which batches it looks at, its arithmetic, and a run on a tiny model."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from motet.bench.engine import __main__ as program
from motet.bench.engine.measure import Measured, Memory, Pairs, StepWork
from motet.bench.engine.report import EngineReport
from motet.bench.engine.scenario import MIXED, Scenario, needed_adapters, scenarios
from motet.bench.machine import Machine
from motet.bench.peaks import Peaks

MIB = 1024**2
BASE, LORA = Scenario(4), Scenario(4, 2, MIXED)


def a_report() -> EngineReport:
    return EngineReport(
        machine=Machine("a processor", 2, ("avx2",), 2**34, None, "3.11", "2026-11-21"),
        threads=2,
        command="a command",
        model="tiny",
        dtype="float32",
        prompt_tokens=10,
        peaks=Peaks(1000.0, {"float32": 100.0}),
        work=StepWork(weight_bytes=2000, flops_per_row=25),
        measured=(
            Measured(BASE, decode_s=(1.0, 2.0, 1.0), prefill_s=(2.0, 2.0, 2.0)),
            Measured(LORA, decode_s=(2.0, 2.5, 1.25), prefill_s=(4.0, 4.0, 4.0)),
        ),
        switched_off=Pairs(ours_s=(6.0, 12.0, 6.0), others_s=(6.0, 10.0, 5.0)),
        pair_rows=4,
        alike=(
            Measured(Scenario(4, 2, "8"), decode_s=(1.0, 2.0), prefill_s=(1.0, 1.0)),
            Measured(Scenario(4, 2, "8", "DoRA"), decode_s=(1.1, 2.4), prefill_s=(1.0, 1.0)),
        ),
        modes=((Measured(BASE, (1.0, 2.0), (3.0, 3.0)), Measured(BASE, (2.0, 4.0), (4.0, 4.0))),),
        memory=Memory(LORA, 300 * MIB, 100 * MIB, 50 * MIB),
        prefix_hits=0,
    )


def test_each_base_comes_before_what_is_compared_with_it() -> None:
    found = scenarios(rows=[1, 4], adapters=[1, 2], ranks=["8", MIXED])
    assert list(map(str, found)) == [
        "1 row, base",
        "1 row, 1 x rank 8",
        "4 rows, base",
        "4 rows, 1 x rank 8",
        "4 rows, 2 x rank 8",
        "4 rows, 2 x mixed",
    ]
    assert all(scenario.base in found for scenario in found)


def test_rows_take_the_adapters_in_turn_and_mixed_ones_have_each_rank() -> None:
    assert Scenario(3, 2, "8").adapters == ["r8-0", "r8-1", "r8-0"]
    assert Scenario(5, 5, MIXED).adapter_ranks == [8, 16, 32, 64, 8]
    assert Scenario(2).adapters == [None, None]


def test_scenarios_share_adapters_of_equal_rank() -> None:
    needed = needed_adapters([Scenario(4, 2, "8"), Scenario(4, 2, MIXED), Scenario(4)])
    assert {name: kind.rank for name, kind in needed.items()} == {
        "r8-0": 8,
        "r8-1": 8,
        "r16-1": 16,
    }


def test_adapters_of_another_kind_are_others() -> None:
    dora, head = Scenario(1, 1, "8", "DoRA"), Scenario(1, 1, "8", "head")
    needed = needed_adapters([Scenario(1, 1, "8"), dora, head])
    assert [kind.use_dora for kind in needed.values()] == [False, True, False]
    assert ["lm_head" in kind.targets for kind in needed.values()] == [False, False, True]
    assert str(dora) == "1 row, 1 x DoRA rank 8"


def test_the_ratio_is_the_median_over_rounds_of_rates() -> None:
    base, lora = a_report().rows()
    assert base == ("4", "0", "", "1,000.0", "4.0", "1.00", "20", "1.00")
    assert lora == ("4", "2", "mixed", "2,000.0", "2.0", "0.80", "10", "0.50")


def test_checks_compare_a_step_with_its_floors_and_memory_with_what_must_be_there() -> None:
    read, arithmetic, switched_off, memory, dora, *_ = a_report().checks()
    assert (read.value, read.ratio) == ("2,000.0 ms", 3.0)
    assert (arithmetic.value, arithmetic.ratio) == ("1,000.0 ms", 6.0)
    assert switched_off.ratio == 1.2  # 1, 1.2 and 1.2
    assert (memory.measured, memory.value, memory.ratio) == ("300 MiB", "150 MiB", 2.0)
    assert memory.goal.endswith(": 157")
    assert dora.what == "decode step, 4 rows, 2 x DoRA rank 8"
    assert dora.ratio == pytest.approx(1.15)


def test_deterministic_mode_is_compared_by_its_rates() -> None:
    decode, prefill = a_report().checks()[-2:]
    assert (decode.what, decode.ratio) == ("deterministic decode step, 4 rows, base", 0.5)
    assert (prefill.what, prefill.ratio) == ("deterministic prefill, 4 rows, base", 0.75)


def test_the_share_of_the_pool_in_use_is_no_rest() -> None:
    memory = a_report().memory
    assert memory.rest_bytes == 150 * MIB
    assert replace(memory, pool_bytes=0).rest_bytes == 200 * MIB


def test_plots_have_a_bar_for_each_scenario() -> None:
    for svg in a_report().plots().values():
        words = [text.text for text in ElementTree.fromstring(svg).iter() if text.text]
        assert {"4 rows, base", "4 rows, 2 x mixed"} <= set(words)


def test_a_run_measures_a_real_engine_and_finds_no_prefix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "measure_peaks", lambda dtypes: Peaks(1e9, {"float32": 1e9}))
    options = ["--shape", "tiny", "--dtype", "float32", "--threads", "1", "--rows", "2"]
    options += ["--adapters", "2", "--ranks", "8", MIXED, "--repeat", "2", "--pairs", "2"]
    options += ["--steps", "2", "--prompt-tokens", "20", "--pool-bytes", "33554432"]
    program.main([*options, "--output", str(tmp_path)])
    out = capsys.readouterr().out
    report = json.loads((tmp_path / "engine.json").read_bytes())
    assert [one["scenario"]["ranks"] for one in report["measured"]] == ["", "8", "mixed"]
    assert all(len(one["decode_s"]) == 2 for one in report["measured"])
    assert report["prefix_hits"] == 0
    memory = report["memory"]
    assert memory["anonymous_bytes"] > memory["weight_bytes"] + memory["pool_bytes"] > 0
    assert out.rstrip().endswith(f"--output {tmp_path}")
    assert {path.name for path in tmp_path.iterdir()} == {
        "engine.json",
        "engine-decode.svg",
        "engine-prefill.svg",
    }


@pytest.mark.parametrize("rank", ["0", "257", "x"])
def test_a_rank_that_no_adapter_has_is_refused(
    rank: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        program.main(["--ranks", rank])
    assert f"'{rank}' is neither mixed nor 1 to 256" in capsys.readouterr().err
