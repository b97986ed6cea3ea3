"""The page about the API names everything there is."""

import re
from pathlib import Path

import msgspec
import pytest

from motet.client.protocol import ChatRequest, CompletionRequest, StreamOptions
from motet.server.http.app import ROUTES
from motet.server.http.errors import ANSWERS, INTERNAL

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text()
NAMES = set(re.findall(r"`(\w+)`", PAGE))


@pytest.mark.parametrize("wire_type", [CompletionRequest, ChatRequest, StreamOptions])
def test_every_field_of_a_request_is_on_the_page(wire_type: type[msgspec.Struct]) -> None:
    fields = {field.name for field in msgspec.structs.fields(wire_type)}
    assert fields - NAMES == set()


def test_every_path_is_on_the_page() -> None:
    paths = [f"{route.method} {route.path.replace(':path', '')}" for route in ROUTES]
    assert [path for path in paths if f"`{path}`" not in PAGE] == []


def test_every_status_is_on_the_page() -> None:
    statuses = {str(row.status) for row in (*ANSWERS.values(), INTERNAL)}
    assert statuses - set(re.findall(r"\d{3}", PAGE)) == set()
