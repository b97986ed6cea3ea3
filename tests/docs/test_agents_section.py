"""The README's section on agents: its commands print what it says."""

import re
from pathlib import Path

from tests.docs.page import Reader, commands, free_port, reader_environment

ROOT = Path(__file__).parents[2]
PORT = "8000"
"""Of the page; the test takes a free one."""


def test_the_commands_print_what_the_section_says() -> None:
    port = free_port()
    page = (ROOT / "README.md").read_text().replace(PORT, str(port))
    first_screen, *_ = page.partition("\n## ")
    found = re.search(
        r"^## Agents that say when they will call\n(.*?)^## ", page, re.DOTALL | re.MULTILINE
    )
    assert found is not None
    with Reader(ROOT, reader_environment(port)) as reader:
        serve, *_ = commands(first_screen)
        for command in (serve, *commands(found[1])):
            reader.do(command)
