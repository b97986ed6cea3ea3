"""How the real command ends when somebody else is in no hurry."""

import signal
import socket
import time
from pathlib import Path

import httpx

from tests.cli.process import Server


def test_the_second_signal_ends_what_the_first_one_waits_for(model_dir: Path) -> None:
    server = Server(model_dir, "--drain-seconds", 60)
    server.wait_for("/ready")
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"  # and never a body
        )
        assert client.recv(1000).startswith(b"HTTP/1.1 100")  # it is waited for now
        server.signal(signal.SIGTERM)
        while httpx.get(f"{server.url}/ready").status_code == 200:
            time.sleep(0.02)
        assert httpx.get(f"{server.url}/health").status_code == 200
        code, err = server.stop(signal.SIGTERM)
    assert (code, err) == (-signal.SIGTERM, "")


def test_keys_are_asked_for_and_never_shown(model_dir: Path) -> None:
    key = "not-to-be-seen"
    server = Server(model_dir, "--api-key", "another", "--api-key", key)
    server.wait_for("/ready")
    models = f"{server.url}/v1/models"
    banner = server.read_banner()
    assert httpx.get(models).status_code == 401
    assert httpx.get(models, headers={"Authorization": f"Bearer {key}"}).status_code == 200
    code, err = server.stop(signal.SIGTERM)
    assert (code, err) == (0, "")
    assert key not in banner
