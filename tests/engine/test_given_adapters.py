"""The adapters of a start: those that were asked for are read, others not even opened."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import LlamaForCausalLM

from motet.engine.config import EngineConfig, ModelConfig
from motet.engine.start.adapters import given_adapters, stager_of
from motet.engine.start.blueprint import blueprint_of
from motet.engine.start.inspection import inspect_adapter
from motet.errors import AdapterError
from motet.memory.adapter import Adapter
from tests.adapter_factory import ADAPTER_KINDS, save_adapter
from tests.model_factory import make_llama


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def adapter(model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    base = LlamaForCausalLM.from_pretrained(model)
    directory = tmp_path_factory.mktemp("adapter")
    return str(save_adapter(base, directory, ADAPTER_KINDS["patterns"]))


class Start:
    def __init__(self, model: Path, adapters: dict[str, str], optional: Iterable[str] = ()) -> None:
        config = EngineConfig(
            str(model),
            tuple(adapters.items()),
            ModelConfig(device="cpu"),
            optional_adapters=frozenset(optional),
        )
        self.blueprint = blueprint_of(config)
        self.stager = stager_of(self.blueprint, "base")
        self.progress: list[tuple[int, int]] = []

    def adapters(self) -> tuple[Adapter, ...]:
        return given_adapters(
            self.blueprint, self.stager, lambda done, total: self.progress.append((done, total))
        )


def test_who_was_asked_for_is_known_and_nothing_of_it_is_kept(model: Path, adapter: str) -> None:
    start = Start(model, {"a": adapter, "b": adapter})
    facts = inspect_adapter(start.blueprint, "base", adapter)
    a = Adapter("a", facts.digest, 1, facts.max_rank, facts.num_pages, adapter)
    assert start.adapters() == (a, replace(a, name="b"))
    assert start.progress == [(1, 2), (2, 2)]
    assert len(start.stager.patterns) == 0


def test_who_is_optional_is_not_opened(model: Path, adapter: str) -> None:
    start = Start(model, {"a": adapter, "none": "/no/such"}, optional=["none"])
    first, second = start.adapters()
    assert first.digest is not None
    assert second == Adapter("none", None, 1, 0, 0, "/no/such")
    assert start.progress == [(1, 1)]


def test_who_was_asked_for_and_cannot_be_served_stops_the_start(model: Path) -> None:
    with pytest.raises(AdapterError, match="'/no/such' does not exist"):
        Start(model, {"a": "/no/such"}).adapters()
