"""The README: its first commands do what it says, in the words that it shows."""

import re
from pathlib import Path

from tests.docs.page import Reader, commands, free_port, reader_environment

ROOT = Path(__file__).parents[2]
PORT = "8000"
"""Of the page; the test takes a free one."""


def test_the_first_screen_prints_what_it_says() -> None:
    port = free_port()
    page = (ROOT / "README.md").read_text().replace(PORT, str(port))
    first_screen, *_ = page.partition("\n## ")
    with Reader(ROOT, reader_environment(port)) as reader:
        for command in commands(first_screen):
            reader.do(command)


def test_every_link_of_the_pages_leads_somewhere() -> None:
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        links = re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text())
        missing = [link for link in links if not (path.parent / link).exists()]
        assert not missing, f"{path.name} leads to {missing}"
