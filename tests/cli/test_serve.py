"""The real command in a process of its own, on a tiny model with an adapter."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from motet.engine.replay import replay
from tests import dockerfile
from tests.cli.commands import Commands
from tests.cli.process import Server
from tests.curl import curls_in


@pytest.fixture(scope="module")
def banner(server: Server) -> str:
    return server.read_banner()


@pytest.fixture(scope="module")
def server(
    model_dir: Path, adapter_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Its run is recorded, and made again at the end."""
    run = tmp_path_factory.mktemp("record") / "run"
    options = ("--pool-bytes", "1MiB", "--record", str(run))
    server = Server(model_dir, "--adapter", f"tuned={adapter_dir}", *options)
    server.wait_for("/ready")
    yield server
    assert server.stop(signal.SIGTERM) == (0, "")
    with run.open("rb") as file:
        turns = list(replay(file))
    assert any(turn.plan.batch.rows for turn in turns)
    assert all(turn.is_same for turn in turns)


def test_the_banner_says_what_is_served(server: Server, banner: str) -> None:
    assert "tiny (LlamaForCausalLM, float32 on cpu)" in banner
    assert server.url in banner


def test_the_curl_lines_of_the_banner_work(banner: str) -> None:
    answers = [curl.send().json() for curl in curls_in(banner)]
    assert [answer["model"] for answer in answers] == ["tiny", "tuned"]
    assert all(answer["usage"]["completion_tokens"] for answer in answers)


def test_bench_serve_counts_every_token(server: Server, tmp_path: Path, motet: Commands) -> None:
    models = ("--model", "tiny", "--model", "tuned")
    lengths = ("--num-prompts", 6, "--concurrency", 3, "--input-len", 5, "--output-len", 4)
    result = tmp_path / "result.json"
    ended = motet.run(
        "bench", "serve", "--base-url", server.url, *models, *lengths, "--json", result
    )
    assert (ended.code, ended.err) == (0, "")
    assert "Total generated tokens:                  24 " in ended.out
    saved = json.loads(result.read_text())
    assert (saved["completed"], saved["total_input_tokens"]) == (6, 30)
    assert [record["model"] for record in saved["requests"]] == ["tiny", "tuned"] * 3


def test_the_health_check_of_the_image_tells_a_server_from_none(server: Server) -> None:
    def is_healthy(port: int) -> bool:
        command = [sys.executable, *dockerfile.stages()[-1].last("HEALTHCHECK").command[1:]]
        environment = {"MOTET_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
        ended = subprocess.run(command, env=environment, stderr=subprocess.DEVNULL)
        return ended.returncode == 0

    assert is_healthy(server.port)
    assert not is_healthy(9)


def test_a_stop_while_loading_is_clean(model_dir: Path) -> None:
    server = Server(model_dir)
    server.wait_for("/health")
    assert server.stop(signal.SIGINT) == (0, "")
