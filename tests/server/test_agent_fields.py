"""Whichever words a request has for who makes it, they come to one record."""

import math
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Headers

from motet.client.protocol import ChatRequest, CompletionRequest
from motet.engine import AgentCall, AgentKey, NextUse, Unit
from motet.errors import RequestError
from motet.server.openai.agent_fields import Caller, caller_of
from motet.server.openai.convert import convert
from tests.server.scripted import ScriptedCore, an_info, connect, says, serving

pytestmark = pytest.mark.anyio

TENANT = "t"
PROMPT = {"prompt": [5]}
TTL = {"ttl_s": 60, "ranges": [{"start": 0, "end": 2048, "priority": 80}]}


def caller(headers: dict[str, str] | None = None, **fields: Any) -> Caller:
    wish = convert(PROMPT | fields, CompletionRequest)
    return caller_of(wish, Headers(headers or {}), TENANT)


def agent(headers: dict[str, str] | None = None, **fields: Any) -> AgentCall:
    found = caller(headers, **fields).agent
    assert found is not None
    return found


def a_call(agent_id: str = "a", **changes: Any) -> AgentCall:
    return AgentCall(AgentKey(TENANT, agent_id), **changes)


IDS: list[tuple[dict[str, str], dict[str, Any]]] = [
    ({}, {"agent": {"id": "0"}}),
    ({}, {"agent_id": "1"}),
    ({}, {"session_id": "2"}),
    ({}, {"job_id": "3"}),
    ({"x-dynamo-session-id": "4"}, {}),
    ({}, {"nvext": {"session_control": {"session_id": "5"}}}),
    ({"X-Session-ID": " 6 "}, {}),
    ({}, {"prompt_cache_key": "7"}),
]
"""Each names the agent unless one before it does."""


@pytest.mark.parametrize("place", range(len(IDS)))
def test_of_all_names_the_first_counts(place: int) -> None:
    headers: dict[str, str] = {}
    fields: dict[str, Any] = {}
    for own_headers, own_fields in IDS[place:]:
        headers |= own_headers
        fields |= own_fields
    assert agent(*IDS[place][:1], **IDS[place][1]).key == AgentKey(TENANT, str(place))
    assert agent(headers, **fields).key == AgentKey(TENANT, str(place))


@pytest.mark.parametrize(
    ("headers", "fields", "expected"),
    [
        ({}, {"agent": {"id": "a"}}, a_call()),
        ({}, {"agent": {"id": "a", "parent_id": "p"}}, a_call(program_id="p")),
        ({}, {"agent": {"id": "a", "parent_id": "p", "program_id": "q"}}, a_call(program_id="q")),
        ({"X-Dynamo-Parent-Session-ID": "p"}, {"session_id": "a"}, a_call(program_id="p")),
        ({}, {"agent_id": "a", "job_id": "j"}, a_call(program_id="j")),
        ({}, {"job_id": "a", "is_last_step": True}, a_call(program_id="a", is_final=True)),
        ({}, {"agent": {"id": "a", "final": True}}, a_call(is_final=True)),
        ({"X-Dynamo-Session-Final": "True"}, {"agent_id": "a"}, a_call(is_final=True)),
        ({"X-Dynamo-Session-Final": "false"}, {"agent_id": "a"}, a_call()),
        ({}, {"agent": {"id": "a", "tool": "walk"}}, a_call(tool="walk")),
        ({}, {"agent": {"id": "a", "retain": TTL}}, a_call(retain_s=60.0)),
        ({}, {"agent": {"id": "a", "step": 3}}, a_call(step=3)),
        ({}, {"agent": {"id": "a", "supersedes": True}}, a_call(supersedes=True)),
        ({}, {"agent": {"id": "a", "osl": 32}}, a_call(expected_tokens=32)),
        (
            {},
            {"agent_id": "a", "nvext": {"agent_hints": {"osl": 9}}},
            a_call(expected_tokens=9),
        ),
        (
            {},
            {"nvext": {"session_control": {"session_id": "a", "action": "bind", "timeout": 9}}},
            a_call(retain_s=9.0),
        ),
        (
            {},
            {"nvext": {"session_control": {"session_id": "a", "action": "close", "timeout": 9}}},
            a_call(is_final=True),
        ),
    ],
)
def test_all_words_come_to_one_record(
    headers: dict[str, str], fields: dict[str, Any], expected: AgentCall
) -> None:
    assert agent(headers, **fields) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"steps": 12}, NextUse(12.0, Unit.STEPS)),
        ({"seconds": 1.5}, NextUse(1.5, Unit.SECONDS)),
        ({"seconds": 0, "p90": 4}, NextUse(0.0, Unit.SECONDS, 4.0)),
        ("never", NextUse(math.inf)),
        ("unknown", None),
    ],
)
def test_the_next_use_has_a_unit_or_is_a_word(given: Any, expected: NextUse | None) -> None:
    assert agent(agent={"id": "a", "next_use": given}).next_use == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 0),
        ({"priority": 3}, 3),
        ({"nvext": {"agent_hints": {"priority": 3}}}, -3),
        ({"priority": 0, "nvext": {"agent_hints": {"priority": 3}}}, 0),
    ],
)
def test_the_lower_priority_goes_first_and_dynamo_s_the_other_way(
    fields: dict[str, Any], expected: float
) -> None:
    assert caller(**fields).priority == expected


def test_a_salt_of_dynamo_counts_where_there_is_no_other() -> None:
    nvext = {"cache_salt": "theirs"}
    assert caller(nvext=nvext).cache_salt == "theirs"
    assert caller(nvext=nvext, cache_salt="ours").cache_salt == "ours"


@pytest.mark.parametrize("fields", [{}, {"user": "a"}, {"prompt_cache_key": ""}, {"nvext": {}}])
def test_who_is_not_named_is_nobody(fields: dict[str, Any]) -> None:
    assert caller({"X-Session-ID": ""}, **fields) == Caller(None, 0, "")


def test_unknown_fields_are_let_through() -> None:
    nvext = {"agent_hints": {"latency_sensitivity": 2}, "annotations": []}
    assert caller(agent_id="a", nvext=nvext).agent == a_call()
    assert agent(agent={"id": "a", "mood": "calm"}) == a_call()


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"agent": {"id": ""}}, "agent", "'agent.id' is \"\": expected str of length >= 1"),
    ({"agent": {"id": "a" * 257}}, "agent", "expected str of length <= 256"),
    ({"agent": {"id": 7}}, "agent", "'agent.id' is 7: expected str"),
    ({"agent": {"next_use": {"steps": 1}}}, "agent", "'agent' has no 'id': give one"),
    ({"agent_id": ""}, "agent_id", "'agent_id' is \"\": expected"),
    ({"session_id": "a" * 257}, "session_id", "expected str of length <= 256"),
    ({"job_id": ""}, "job_id", "'job_id' is"),
    ({"prompt_cache_key": "a" * 257}, "prompt_cache_key", "expected str of length <= 256"),
    ({"priority": 2**31}, "priority", "'priority' is 2147483648: expected int <="),
    ({"priority": 0.5}, "priority", "'priority' is 0.5: expected int"),
    ({"agent": {"next_use": {}}}, "agent", "'agent.next_use': give one of 'steps' and 'seconds'"),
    ({"agent": {"next_use": {"steps": 1, "seconds": 1}}}, "agent", "give one of 'steps' and"),
    ({"agent": {"next_use": {"steps": 1, "p90": 1}}}, "agent", "'p90' needs 'seconds'"),
    ({"agent": {"next_use": {"steps": -1}}}, "agent", "'agent.next_use.steps' is -1: expected"),
    ({"agent": {"next_use": "soon"}}, "agent", "'agent.next_use' is \"soon\": invalid"),
    ({"agent": {"step": -1}}, "agent", "'agent.step' is -1: expected int >= 0"),
    ({"agent": {"osl": -1}}, "agent", "'agent.osl' is -1: expected int >= 0"),
    ({"agent": {"retain": {"ttl_s": -1}}}, "agent", "'agent.retain.ttl_s' is -1: expected"),
    ({"agent": {"retain": {"ttl_s": 1e9}}}, "agent", "'agent.retain.ttl_s' is 1000000000.0:"),
    ({"agent": {"final": "yes"}}, "agent", "'agent.final' is \"yes\": expected bool"),
    ({"nvext": {"session_control": {"action": "burn"}}}, "nvext", 'is "burn": invalid'),
    ({"nvext": {"agent_hints": {"priority": "high"}}}, "nvext", 'is "high": expected int'),
]


@pytest.mark.parametrize(("fields", "param", "says"), BAD)
@pytest.mark.parametrize("kind", [CompletionRequest, ChatRequest])
def test_what_is_wrong_is_named_with_its_value(
    kind: type[CompletionRequest | ChatRequest], fields: dict[str, Any], param: str, says: str
) -> None:
    body = PROMPT | {"messages": [{"role": "user", "content": "a"}]} | fields
    with pytest.raises(RequestError) as caught:
        caller_of(convert(body, kind), Headers({}), TENANT)
    assert says in str(caught.value)
    assert caught.value.param == param


def test_an_overlong_id_in_a_header_is_refused_by_its_name() -> None:
    with pytest.raises(RequestError, match="'X-Session-ID' has 257 characters"):
        caller({"X-Session-ID": "a" * 257})


@pytest.fixture
def core(model_dir: Path) -> ScriptedCore:
    return ScriptedCore(says(100), an_info(model_dir))


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
async def test_it_goes_to_the_engine_with_each_choice(core: ScriptedCore, path: str) -> None:
    body = {"prompt": "a", "messages": [{"role": "user", "content": "a"}], "n": 2, "priority": -4}
    async with serving(core) as app, connect(app) as client:
        headers = {"X-Dynamo-Session-ID": "a"}
        assert (await client.post(path, json=body, headers=headers)).status_code == 200
    assert [(r.agent, r.priority) for r in core.requests] == [
        (AgentCall(AgentKey("", "a")), -4)
    ] * 2


@pytest.mark.parametrize(("model", "digest"), [("base", None), ("tuned", "0123456789abcdef")])
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
async def test_who_says_so_hears_of_its_state(
    core: ScriptedCore, path: str, model: str, digest: str | None
) -> None:
    body = {"prompt": "a", "messages": [{"role": "user", "content": "a"}], "model": model, "n": 2}
    state = {"prefix": {"cached_tokens": 4}, "adapter": digest}
    async with serving(core) as app, connect(app) as client:
        silent = await client.post(path, json=body | {"agent_id": "a"})
        assert "agent_state" not in silent.json()
        answer = await client.post(path, json=body | {"agent": {"id": "a"}})
        assert answer.json()["agent_state"] == state
        stream = await client.post(path, json=body | {"agent": {"id": "a"}, "stream": True})
    told = [line for line in stream.text.splitlines() if "agent_state" in line]
    assert len(told) == 2  # at the end of each choice
    assert all("finish_reason" in line for line in told)
