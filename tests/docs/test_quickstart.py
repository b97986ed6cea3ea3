"""The quickstart: a reader who types what it says sees what it says."""

from pathlib import Path

from tests.docs.page import Reader, commands, free_port, reader_environment

ROOT = Path(__file__).parents[2]
PORT = "8000"
"""Of the page; the test takes a free one."""


def test_every_command_of_the_quickstart_prints_what_it_says() -> None:
    port = free_port()
    page = (ROOT / "docs/quickstart.md").read_text().replace(PORT, str(port))
    with Reader(ROOT, reader_environment(port)) as reader:
        for command in commands(page):
            reader.do(command)
