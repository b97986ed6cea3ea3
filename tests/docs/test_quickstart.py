"""The quickstart: a reader who types what it says sees what it says."""

import socket
from pathlib import Path

from tests.docs.page import Reader, commands, reader_environment

ROOT = Path(__file__).parents[2]
PORT = "8000"
"""Of the page; the test takes a free one."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def test_every_command_of_the_quickstart_prints_what_it_says() -> None:
    port = free_port()
    page = (ROOT / "docs/quickstart.md").read_text().replace(PORT, str(port))
    with Reader(ROOT, reader_environment(port)) as reader:
        for command in commands(page):
            reader.do(command)
