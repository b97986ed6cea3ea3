"""The bench of tiers: each part once, tiny, and how a goal is told."""

from pathlib import Path

import pytest

from motet.bench.tiers import __main__ as program
from motet.bench.tiers import loads, mix, registered, returns, unload
from motet.bench.tiers.finding import Finding, PartReport, at_most

TINY = ("tiny", "float32", 1)


def reached(report: PartReport) -> list[str]:
    """What has a goal. Whether it is reached on a machine that tests share says nothing."""
    return [finding.what for finding in report.findings if finding.is_reached is not None]


def test_a_goal_is_reached_up_to_its_limit() -> None:
    assert at_most("a", 4.0, 4, "kB").cells() == ("a", "4.00 kB", "", "", "<= 4 kB", "yes")
    compared = at_most("b", 5.5, 5, "s more", of="9.5 s", against="4 s")
    assert compared.cells() == ("b", "9.5 s", "4 s", "5.50 s more", "<= 5 s more", "NO")
    assert Finding("c", "1 s").cells()[-1] == ""


def test_registered_adapters_are_counted_beside_none(tmp_path: Path) -> None:
    report = registered.measure(
        registered.Sizes(num_adapters=50, num_starts=1, num_lists=2), tmp_path
    )
    assert len(list((tmp_path / "adapters").iterdir())) == 50
    assert len(reached(report)) == 5


def test_the_same_mix_runs_on_two_servers(tmp_path: Path) -> None:
    sizes = mix.Sizes(
        num_many=12, num_few=4, num_used=4, num_rounds=2, num_requests=8, output_len=2
    )
    report = mix.measure(sizes, tmp_path)
    [finding] = report.findings
    assert finding.is_reached is not None
    assert report.title == "12 adapters registered, against 4"


def test_hot_requests_decode_while_cold_adapters_load(tmp_path: Path) -> None:
    sizes = loads.Sizes(num_cold=10, rank=8, num_hot=2, num_tokens=60, num_rounds=1)
    report = loads.measure(sizes, tmp_path, *TINY)
    assert "simulated link" in report.title
    _, near, far = report.notes
    assert " 0 loaded" not in far
    assert "0 of them from disk" in near
    assert len(reached(report)) == 2


def test_a_session_returns_to_an_engine_with_and_without_a_host(tmp_path: Path) -> None:
    sizes = returns.Sizes(lengths=(16, 64), num_rounds=1)
    report = returns.measure(sizes, tmp_path, *TINY)
    assert len(reached(report)) == 2


def test_an_unloaded_adapter_leaves_both_tiers(tmp_path: Path) -> None:
    report = unload.measure(unload.Sizes(num_rounds=2), tmp_path)
    assert len(reached(report)) == 1


def test_a_part_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main(["--part", "disks"])
    assert "'disks'" in capsys.readouterr().err
