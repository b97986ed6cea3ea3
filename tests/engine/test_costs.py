"""What is known of a machine: kept, found again, and never trusted when it is wrong."""

import math
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
from msgspec import structs

from motet.engine.config import EngineConfig, ModelConfig, PoolConfig
from motet.engine.start.blueprint import Blueprint, blueprint_of
from motet.engine.start.costs import (
    ASSUMED,
    Measured,
    Rates,
    Setting,
    assumed_rates,
    costs_of,
    keep_rates,
    kept_rates,
    setting_of,
)
from motet.errors import ConfigError
from motet.memory.costs import Costs
from tests.model_factory import make_llama

RATES = Rates(copy_bytes_per_s=1e9, copy_latency_s=0.001, token_s=0.01)
SETTING = Setting("model", "float32", "cpu", 2, "processor", is_deterministic=False)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("models") / "tiny")


def a_blueprint(model: Path, pool: PoolConfig | None = None) -> Blueprint:
    config = EngineConfig(str(model), (), ModelConfig(device="cpu"), pool or PoolConfig())
    return blueprint_of(config)


def test_what_is_kept_is_found_again_for_the_same_setting_only() -> None:
    assert kept_rates(SETTING) is None
    path = keep_rates(SETTING, RATES)
    assert kept_rates(SETTING) == RATES
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    for other in (
        structs.replace(SETTING, base_model="other"),
        structs.replace(SETTING, dtype="bfloat16"),
        structs.replace(SETTING, device="a GPU"),
        structs.replace(SETTING, threads=3),
        structs.replace(SETTING, processor="other"),
        structs.replace(SETTING, is_deterministic=True),
    ):
        assert kept_rates(other) is None
    better = structs.replace(RATES, token_s=0.005)
    assert keep_rates(SETTING, better) == path
    assert kept_rates(SETTING) == better


FOREIGN = structs.replace(SETTING, threads=9)
WRONG = {
    "empty": b"",
    "cut": msgspec.json.encode(Measured(SETTING, RATES))[:-5],
    "not text": b"\xff\xfe\x00",
    "other fields": b'{"setting": 1}',
    "foreign": msgspec.json.encode(Measured(FOREIGN, RATES)),
    "no bandwidth": msgspec.json.encode(
        Measured(SETTING, structs.replace(RATES, copy_bytes_per_s=0.0))
    ),
    "negative": msgspec.json.encode(Measured(SETTING, structs.replace(RATES, token_s=-1.0))),
    "endless": msgspec.json.encode(Measured(SETTING, structs.replace(RATES, copy_latency_s=1e9))),
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_a_file_that_is_wrong_is_ignored_with_one_line(
    content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = keep_rates(SETTING, RATES)
    path.write_bytes(content)
    assert kept_rates(SETTING) is None
    [record] = caplog.records
    message = record.getMessage()
    assert str(path) in message and "run motet tune again" in message and "\n" not in message


def test_a_folder_that_cannot_be_written_is_named(cache: Path) -> None:
    cache.write_text("a file in its place")
    with pytest.raises(ConfigError, match=f"cannot be kept in '{cache}/motet/costs-.*XDG_CACHE"):
        keep_rates(SETTING, RATES)


def test_costs_are_those_that_were_measured(model: Path) -> None:
    blueprint = a_blueprint(model)
    setting = setting_of(blueprint, "base")
    assert (setting.device, setting.threads) == ("cpu", torch.get_num_threads())
    keep_rates(setting, RATES)
    page_bytes = blueprint.layout.page_bytes
    assert costs_of(blueprint, "base") == Costs(page_bytes / 1e9, 0.001, 0.01)


def test_what_nobody_has_measured_is_assumed_by_the_size_of_the_model(model: Path) -> None:
    blueprint = a_blueprint(model)
    rates = assumed_rates(blueprint)
    assert rates.copy_bytes_per_s == ASSUMED["cpu"].copy_bytes_per_s
    twice = replace(blueprint, spec=replace(blueprint.spec, num_layers=4))
    assert blueprint.spec.num_layers == 2
    assert assumed_rates(twice).token_s == pytest.approx(2 * rates.token_s)
    assert 0 < rates.token_s < 1e-3
    assert costs_of(blueprint, "base").token_s == rates.token_s


def test_a_simulated_link_is_as_slow_as_it_says_and_no_faster_than_memory(model: Path) -> None:
    for gbps, bytes_per_s in ((0.8, 1e8), (8.0, 1e9), (80_000.0, ASSUMED["cpu"].copy_bytes_per_s)):
        blueprint = a_blueprint(model, PoolConfig(link_gbps=gbps))
        page_copy_s = costs_of(blueprint, "base").page_copy_s
        assert page_copy_s == pytest.approx(blueprint.layout.page_bytes / bytes_per_s)


def test_without_room_on_the_host_nothing_is_cheaper_than_computing_it_again(model: Path) -> None:
    blueprint = a_blueprint(model, PoolConfig(host_bytes=0))
    assert costs_of(blueprint, "base").page_copy_s == math.inf
