"""Real servers for the tests of the contract: tiny Llamas with adapters."""

import signal
from collections.abc import Iterator

import pytest
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from tests.adapter_factory import ADAPTER_KINDS, save_adapter
from tests.cli.process import Server
from tests.contract.contract_server import Api, Models, make_models, serving
from tests.model_factory import make_llama, make_tokenizer

CHAT_TEMPLATE = (
    "{% for message in messages %}[{{ message.role }}] {{ message.content }}{% endfor %}"
)
"""Renders whatever there is."""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves `tiny` and `tuned`. Its context is short, so whatever is asked for ends soon."""
    directory = tmp_path_factory.mktemp("contract")
    model = make_tokenizer(make_llama(directory / "tiny"), CHAT_TEMPLATE)
    tuned = save_adapter(
        LlamaForCausalLM.from_pretrained(model), directory / "tuned", ADAPTER_KINDS["all-linear"]
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OMP_NUM_THREADS", "1")  # as in tests/conftest.py
        server = Server(
            model, "--adapter", f"tuned={tuned}", "--pool-bytes", "2MiB", "--max-model-len", 64,
            "--max-batch-rows", 64,
        )  # fmt: skip
    server.wait_for("/ready")
    yield server
    code, err = server.stop(signal.SIGTERM)
    assert code == 0
    assert "Traceback" not in err, err


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """What `api` serves. Not to be changed."""
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def tokenizer(models: Models) -> Tokenizer:
    """Of their base model."""
    return Tokenizer.from_file(str(models.base / "tokenizer.json"))


@pytest.fixture(scope="module")
def api(models: Models) -> Iterator[Api]:
    """A server in this process, for one module: nobody else changes its counts."""
    with serving(models) as api:
        yield api
