"""Files that trainers save beside an adapter for its prompts."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OWN_TEMPLATE = "{% for m in messages %}{{ '<' + m.role + '>' + m.content + eos_token }}{% endfor %}"
"""Writes messages as no other template of the tests does."""


def write_files(directory: Path, files: Mapping[str, Any]) -> Path:
    """Name -> text, or anything else as JSON."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_bytes(text.encode())
    return directory
