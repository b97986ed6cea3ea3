"""The real command in a process of its own, on a tiny model with an adapter."""

import json
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cli.commands import Commands

MOTET = Path(sys.executable).with_name("motet")
START_TIMEOUT_S = 120
BANNER_LINES = 7


class Server:
    """`motet serve` until a signal stops it."""

    def __init__(self, *arguments: object) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process = subprocess.Popen(
            [str(MOTET), "serve", *map(str, arguments), "--port", str(self.port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, path: str) -> None:
        """Until GET `path` is answered with 200."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s and self._process.poll() is None:
            try:
                if httpx.get(self.url + path).is_success:
                    return
            except httpx.TransportError:  # not listening yet
                pass
            time.sleep(0.1)
        self._process.kill()
        pytest.fail(f"no answer to GET {path}: {self._process.communicate()}")

    def read_banner(self) -> str:
        assert self._process.stdout
        return "".join(self._process.stdout.readline() for _ in range(BANNER_LINES))

    def stop(self, signal_number: int) -> tuple[int, str]:
        """Exit code and stderr."""
        self._process.send_signal(signal_number)
        _, err = self._process.communicate(timeout=60)
        return self._process.returncode, err


@pytest.fixture(scope="module")
def banner(server: Server) -> str:
    return server.read_banner()


@pytest.fixture(scope="module")
def server(model_dir: Path, adapter_dir: Path) -> Iterator[Server]:
    server = Server(model_dir, "--adapter", f"tuned={adapter_dir}", "--pool-bytes", "1MiB")
    server.wait_for("/ready")
    yield server
    assert server.stop(signal.SIGTERM) == (0, "")


def test_the_banner_says_what_is_served(server: Server, banner: str) -> None:
    assert "tiny (LlamaForCausalLM, float32 on cpu)" in banner
    assert server.url in banner


def test_the_curl_line_of_the_banner_works(banner: str) -> None:
    [line] = [line for line in banner.splitlines() if "curl" in line]
    _, _, url, _, header, _, body = shlex.split(line)
    name, _, value = header.partition(": ")
    answer = httpx.post(url, headers={name: value}, content=body).json()
    assert answer["model"] == "tuned"
    assert answer["usage"]["completion_tokens"] == 16


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


def test_a_stop_while_loading_is_clean(model_dir: Path) -> None:
    server = Server(model_dir)
    server.wait_for("/health")
    assert server.stop(signal.SIGINT) == (0, "")
