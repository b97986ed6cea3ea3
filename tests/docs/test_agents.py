"""The page about agents names everything there is."""

import re
from pathlib import Path

import msgspec
import pytest

from motet.client import protocol
from motet.engine import Happening, Outcome
from motet.server.app import ROUTES
from motet.server.openai import agent_fields

PAGE = (Path(__file__).parents[2] / "docs/agents.md").read_text()
TEXT = re.sub(r"^```.*?^```$", "", PAGE, flags=re.DOTALL | re.MULTILINE)
NAMES = set(re.findall(r"[\w-]+", " ".join(re.findall(r"`([^`]+)`", TEXT))))


@pytest.mark.parametrize(
    "wire_type",
    [
        protocol.AgentFields,
        protocol.NextUseFields,
        protocol.RetainFields,
        protocol.RetainRange,
        protocol.Nvext,
        protocol.AgentHints,
        protocol.SessionControl,
        protocol.PushRequest,
        protocol.UpdateRequest,
        protocol.PushAnswer,
        protocol.TickRequest,
        protocol.RegisterAgentRequest,
        protocol.ChangeAgentRequest,
        protocol.MoveRequest,
        protocol.RetainRequest,
        protocol.MoveAnswer,
        protocol.AgentEvent,
        protocol.AgentState,
        protocol.AgentQuery,
        protocol.WarmAnswer,
    ],
)
def test_every_field_is_on_the_page(wire_type: type[msgspec.Struct]) -> None:
    assert {field.name for field in msgspec.structs.fields(wire_type)} - NAMES == set()


def test_every_path_is_on_the_page() -> None:
    paths = [f"{route.method} {route.path.replace(':path', '')}" for route in ROUTES]
    own = [path for path in paths if "agent" in path or "event" in path or "update" in path]
    assert [path for path in own if f"`{path}`" not in PAGE] == []


def test_every_header_is_on_the_page() -> None:
    headers = (
        agent_fields.SESSION,
        agent_fields.PARENT_SESSION,
        agent_fields.SESSION_FINAL,
        agent_fields.PLAIN_SESSION,
    )
    assert {*headers} - NAMES == set()


@pytest.mark.parametrize("words", [Outcome, Happening])
def test_every_word_is_on_the_page(words: type[Outcome] | type[Happening]) -> None:
    assert {word.value for word in words} - NAMES == set()
