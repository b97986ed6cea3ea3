"""The README's section on adapters that come and go: its commands do what it says."""

import json
import re
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.page import Reader, commands, free_port, reader_environment

ROOT = Path(__file__).parents[2]
PORT = "8000"
"""Of the page; the test takes a free one."""


@pytest.mark.parametrize(
    "num_requests", [300, pytest.param(2000, marks=[pytest.mark.soak, pytest.mark.timeout(1200)])]
)
def test_the_commands_do_what_the_section_says(num_requests: int, tmp_path: Path) -> None:
    port = free_port()
    page = (ROOT / "README.md").read_text().replace(PORT, str(port))
    page = page.replace(f"{2000:<10}", f"{num_requests:<10}").replace("2000", str(num_requests))
    found = re.search(r"^## Adapters that come and go\n(.*?)^## ", page, re.DOTALL | re.MULTILINE)
    assert found is not None
    clone = _clone(tmp_path)
    with Reader(clone, reader_environment(port)) as reader:
        make_crowd, serve, *others = commands(found[1])
        reader.do(make_crowd)
        reader.do(serve)
        with _watched(port) as sums:
            for command in others:
                reader.do(command)
    assert len(sums) > 10
    assert all(parts == total for parts, total in sums)


def _clone(directory: Path) -> Path:
    """What the commands need of a clone, where they may write."""
    (directory / "motet").mkdir()
    (directory / "motet" / "demo").symlink_to(ROOT / "motet" / "demo")
    (directory / ".venv").symlink_to(ROOT / ".venv")
    return directory


@contextmanager
def _watched(port: int) -> Iterator[list[tuple[int, int]]]:
    """Ask all the while whose the pages are: sum of the parts and total, of each tier."""
    sums: list[tuple[int, int]] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.wait(0.02):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/memory") as answer:
                memory = json.load(answer)
            for tier in ("pages", "host"):
                total = memory[tier].pop("total")
                sums.append((sum(memory[tier].values()), total))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield sums
    finally:
        is_over.set()
        thread.join()
