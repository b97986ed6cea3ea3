"""The README's section on adapters that come and go: its commands do what it says."""

import re
from pathlib import Path

import pytest

from tests.docs.page import Reader, commands, free_port, reader_environment
from tests.memory_watch import watched_memory

ROOT = Path(__file__).parents[2]
PORT = "8000"
"""Of the page; the test takes a free one."""


@pytest.mark.parametrize(
    "num_requests", [150, pytest.param(2000, marks=[pytest.mark.soak, pytest.mark.timeout(1200)])]
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
        with watched_memory(f"http://127.0.0.1:{port}") as sums:
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
