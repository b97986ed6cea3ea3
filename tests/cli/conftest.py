"""Commands, and a model to give them."""

from pathlib import Path

import pytest
from transformers import LlamaForCausalLM

from tests.adapter_factory import ADAPTER_KINDS, save_adapter
from tests.cli.commands import Commands
from tests.model_factory import make_llama, make_tokenizer


@pytest.fixture
def motet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(monkeypatch, capsys)


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with its tokenizer. Not to be changed."""
    return make_tokenizer(make_llama(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="session")
def adapter_dir(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEFT adapter for the model. Not to be changed."""
    model = LlamaForCausalLM.from_pretrained(model_dir)
    return save_adapter(model, tmp_path_factory.mktemp("adapter"), ADAPTER_KINDS["all-linear"])
