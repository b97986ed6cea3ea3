"""Changes a model directory, and sees it refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from motet.engine.models import read_config
from motet.errors import ModelError


def edit(path: Path, **fields: Any) -> None:
    """Set fields of a JSON file; None removes."""
    content = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def assert_refused(path: Path, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        read_config(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
