"""Measuring a machine: real copies and prompts of a tiny model."""

from pathlib import Path

import pytest

from motet.commands.tune import run_tune
from motet.engine.config import BatchConfig, EngineConfig, ModelConfig, PoolConfig
from motet.engine.start import costs
from motet.engine.start import tune as tuning
from motet.engine.start.blueprint import blueprint_of
from motet.engine.start.costs import kept_rates, setting_of
from motet.engine.start.identity import identify
from motet.engine.start.tune import TimedCopy, TimedPrompt, Tuning, tune
from motet.memory.copy import Direction
from tests.engine.test_costs import SETTING
from tests.model_factory import make_llama


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "cache_folder", lambda: tmp_path / "cache")  # not the kernels'
    monkeypatch.setattr(tuning, "COPIED_BYTES", (2**14, 2**18))
    monkeypatch.setattr(tuning, "PROMPT_TOKENS", (4, 16, 10_000))


@pytest.fixture
def config(tmp_path: Path) -> EngineConfig:
    model = make_llama(tmp_path / "tiny")
    options = ModelConfig(device="cpu", max_model_len=128, threads=1)
    return EngineConfig(str(model), (), options, PoolConfig(), BatchConfig(max_batch_tokens=64))


def test_every_size_is_measured_within_the_limits_of_the_engine(config: EngineConfig) -> None:
    progress: list[tuple[str, int, int]] = []
    found = tune(config, lambda stage, done, total: progress.append((stage, done, total)))
    assert [copy.num_bytes for copy in found.copies] == [2**14, 2**18, 2**19]
    assert [prompt.num_tokens for prompt in found.prompts] == [4, 16, 32, 64]
    assert all(s > 0 for copy in found.copies for s in copy.seconds.values())
    rates = found.rates
    assert rates.copy_bytes_per_s > 0 and rates.copy_latency_s >= 0 and rates.token_s > 0
    assert progress[-4:] == [("prompts", done, 4) for done in range(1, 5)]
    assert ("copies", 3, 3) in progress


def test_what_is_found_is_printed_and_kept_for_the_next_start(
    config: EngineConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run_tune(config)
    out = capsys.readouterr().out
    setting = setting_of(blueprint_of(config), identify(config.model))
    rates = kept_rates(setting)
    assert rates is not None
    assert "to the device" in out and "64 tokens" in out
    assert f"{1 / rates.token_s:,.0f} tokens a second" in out
    assert "kept in " in out


def copies(*points: tuple[int, float, float]) -> tuple[TimedCopy, ...]:
    """Bytes, and seconds to the device and to the host."""
    return tuple(
        TimedCopy(size, {Direction.TO_DEVICE: down, Direction.TO_HOST: up})
        for size, down, up in points
    )


def test_the_slower_direction_counts_and_the_smallest_copy_shows_the_latency() -> None:
    prompts = (TimedPrompt(10, 0.3), TimedPrompt(110, 1.3))
    points = copies((1000, 0.002, 0.003), (2000, 0.003, 0.005), (3000, 0.004, 0.007))
    rates = Tuning(SETTING, points, prompts).rates
    assert rates.copy_bytes_per_s == pytest.approx(500_000)
    assert rates.copy_latency_s == pytest.approx(0.001)
    assert rates.token_s == pytest.approx(0.01)


def test_times_that_do_not_rise_still_give_rates() -> None:
    points = copies((1000, 0.002, 0.002), (2000, 0.001, 0.001))
    rates = Tuning(SETTING, points, (TimedPrompt(5, 0.1),)).rates
    assert rates.copy_bytes_per_s == pytest.approx(2e6)
    assert rates.copy_latency_s == pytest.approx(0.0015)
    assert rates.token_s == pytest.approx(0.02)
