"""Stock clients, each in a process of its own: two generations of `openai`, and `litellm`."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.process import Server

HERE = Path(__file__).parent
CLIENTS = Path(sys.prefix) / "clients"
"""Where `make setup` installs the dependency group `clients`, which our own packages exclude."""


@dataclass(frozen=True, slots=True)
class Client:
    script: str
    version: str
    """How it begins."""
    path: Path | None = None
    """Where it is installed; None is beside motet."""


STOCK = {
    "openai 3": Client("openai_script.py", "3."),
    "openai 2": Client("openai_script.py", "2.", CLIENTS),
    "litellm": Client("litellm_script.py", "1.", CLIENTS),
}


@pytest.mark.parametrize("name", STOCK)
def test_a_stock_client_finds_all_it_expects(server: Server, name: str) -> None:
    client = STOCK[name]
    if client.path is not None:
        assert client.path.is_dir(), f"{client.path} is missing: `make setup` installs it"
    environment = os.environ | {
        "PYTHONPATH": str(client.path or ""),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it would load one from elsewhere
    }
    ended = subprocess.run(
        [sys.executable, str(HERE / client.script), server.url],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1].startswith(client.version)
