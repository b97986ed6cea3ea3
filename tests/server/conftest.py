"""The server's tests run on asyncio, with one tokenizer on disk."""

from pathlib import Path

import pytest

from motet.server.text import Tokenizer
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
