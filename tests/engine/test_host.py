"""How much of the host is kept for pages."""

from pathlib import Path

import pytest

from motet.engine.config import EngineConfig, ModelConfig, PoolConfig
from motet.engine.start.blueprint import Blueprint, blueprint_of
from motet.engine.start.host import SHARE, STAGED_ADAPTERS, host_pages
from motet.errors import ConfigError
from tests.model_factory import make_llama

FREE = 2**30


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("models") / "tiny")


def with_host(model: Path, host_bytes: int | None) -> Blueprint:
    pool = PoolConfig(host_bytes=host_bytes)
    return blueprint_of(EngineConfig(str(model), (), ModelConfig(device="cpu"), pool))


def test_by_default_it_is_a_share_of_what_is_free(model: Path) -> None:
    blueprint = with_host(model, None)
    assert host_pages(blueprint, FREE, 1) == int(FREE * SHARE) // blueprint.layout.page_bytes


@pytest.mark.parametrize("host_bytes", [None, 0])
def test_there_is_always_room_for_two_adapters(host_bytes: int | None, model: Path) -> None:
    blueprint = with_host(model, host_bytes)
    usual = blueprint.uniform_adapter_pages(16)
    free = (STAGED_ADAPTERS * 2 * usual + 1) * blueprint.layout.page_bytes
    assert host_pages(blueprint, free, 0) == STAGED_ADAPTERS * usual
    assert host_pages(blueprint, free, 2 * usual) == STAGED_ADAPTERS * 2 * usual


def test_what_was_asked_for_is_counted_in_whole_pages(model: Path) -> None:
    page_bytes = with_host(model, None).layout.page_bytes
    blueprint = with_host(model, 1000 * page_bytes + page_bytes - 1)
    assert host_pages(blueprint, FREE, 1) == 1000


def test_more_than_the_machine_has_is_refused_with_what_would_fit(model: Path) -> None:
    with pytest.raises(ConfigError, match=f"--host-bytes is {FREE}: .* only {FREE - 1} bytes"):
        host_pages(with_host(model, FREE), FREE - 1, 1)
    assert host_pages(with_host(model, FREE), FREE, 1)


def test_less_than_adapters_need_is_refused_with_how_much_that_is(model: Path) -> None:
    blueprint = with_host(model, 1)
    least = STAGED_ADAPTERS * 1000 * blueprint.layout.page_bytes
    with pytest.raises(ConfigError, match=f"--host-bytes is 1: .* {least} bytes; give at least"):
        host_pages(blueprint, FREE, 1000)
    assert host_pages(with_host(model, least), FREE, 1000) == STAGED_ADAPTERS * 1000


def test_a_machine_without_room_for_adapters_is_refused(model: Path) -> None:
    with pytest.raises(ConfigError, match=r"only 1000 are free there; start with a smaller pool"):
        host_pages(with_host(model, None), 1000, 1)
    with pytest.raises(ConfigError, match="only 0 are free"):
        host_pages(with_host(model, None), -5, 1)
