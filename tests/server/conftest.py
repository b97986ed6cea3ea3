"""The server's tests run on asyncio, with one tokenizer on disk."""

from pathlib import Path

import pytest

from motet.server.text.tokenizer import Tokenizer
from tests.model_factory import make_tokenizer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory with a tokenizer and no weights."""
    return make_tokenizer(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def tokenizer(model_dir: Path) -> Tokenizer:
    return Tokenizer.load(str(model_dir))


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """From when a tokenizer is loaded, no text can be encoded."""
    load = Tokenizer.load

    def load_once(directory: str) -> Tokenizer:
        tokenizer = load(directory)
        monkeypatch.delattr(Tokenizer, "encode")
        return tokenizer

    monkeypatch.setattr(Tokenizer, "load", load_once)
