"""Agents over HTTP: what the engine is asked, what is answered, and who may ask it."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from motet.engine import AgentKey, AgentStatus, Happening, NextUse, Target, Unit, Verb
from motet.engine.messages import (
    AgentCommand,
    ForgetAgent,
    MoveAgent,
    PushDistances,
    RegisterAgent,
    TellAgent,
    TickAgents,
)
from motet.server.http.agent_control import MAX_PUSHES
from motet.server.http.config import ServerConfig
from motet.server.openai.distances import PART
from tests.server.scripted import (
    PLAIN_TEMPLATE,
    ScriptedCore,
    a_config,
    an_info,
    babbles,
    connect,
    serving,
    until,
)

pytestmark = pytest.mark.anyio

PAGE_BYTES = 4096
A = AgentKey("", "a")
KEYS = ("first-secret", "second-secret")


@pytest.fixture
def core(model_dir: Path) -> ScriptedCore:
    """Knows the agent `a`."""
    core = ScriptedCore(babbles, an_info(model_dir, page_bytes=PAGE_BYTES))
    core.adapters.agents.known[A] = AgentStatus("a")
    return core


@pytest.fixture
async def client(core: ScriptedCore) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(core) as app, connect(app) as client:
        yield client


def commands(core: ScriptedCore) -> list[AgentCommand]:
    return core.adapters.agents.commands


async def told(client: httpx.AsyncClient, path: str, body: Any = None, method: str = "POST") -> Any:
    """The answer to what is let through."""
    answer = await client.request(method, path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refusal(
    client: httpx.AsyncClient, path: str, body: Any, status: int = 400, method: str = "POST"
) -> Any:
    answer = await client.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


async def test_a_push_tells_what_became_of_it(
    core: ScriptedCore, client: httpx.AsyncClient
) -> None:
    body = {"epoch": 7, "unit": "seconds", "distances": {"a": 0.5, "b": "never"}}
    answer = await told(client, "/v1/agents/distances", body)
    assert answer == {
        "applied": 1,
        "unknown": 1,
        "stale": False,
        "clipped": 0,
        "planned_prefetch_bytes": PAGE_BYTES,
        "epoch": 7,
    }
    expected = PushDistances("", (("a", 0.5), ("b", math.inf)), Unit.SECONDS, 7)
    assert commands(core) == [expected]


async def test_a_stale_push_says_so(client: httpx.AsyncClient) -> None:
    body = {"epoch": 7, "distances": {"a": 1}}
    await told(client, "/v1/agents/distances", body)
    answer = await told(client, "/v1/agents/distances", body)
    assert (answer["stale"], answer["applied"], answer["clipped"]) == (True, 0, 0)


async def test_lines_are_a_push_as_well(core: ScriptedCore, client: httpx.AsyncClient) -> None:
    lines = b'{"mode": "replace"}\n{"agent": "a", "distance": 3}\n{"b": 4}\n'
    headers = {"Content-Type": "application/x-ndjson; charset=utf-8"}
    answer = await client.post("/v1/agents/distances", content=lines, headers=headers)
    assert answer.json()["applied"] == 1
    distances = (("a", 3.0), ("b", 4.0))
    assert commands(core) == [PushDistances("", distances, Unit.STEPS, None, True)]


async def test_scalesim_s_update_is_a_whole_push(
    core: ScriptedCore, client: httpx.AsyncClient
) -> None:
    body = {"agent_data": {"a": 2}, "timestep_data": {"2": ["a"]}, "timestep_cnt": 9}
    assert (await told(client, "/v1/update", body))["epoch"] == 9
    assert commands(core) == [PushDistances("", (("a", 2.0),), Unit.STEPS, 9, True)]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-ndjson"])
@pytest.mark.parametrize("path", ["/v1/update", "/v1/agents/distances"])
async def test_a_push_says_what_it_is(
    core: ScriptedCore, client: httpx.AsyncClient, path: str, content_type: str
) -> None:
    body = b'{"distances": {"a": 1}}'
    answer = await client.post(path, content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 400
    assert not commands(core)


async def test_nothing_of_a_push_with_a_fault_is_applied(
    core: ScriptedCore, client: httpx.AsyncClient
) -> None:
    distances: dict[str, float] = {f"agent-{number}": 1 for number in range(50_000)}
    error = await refusal(client, "/v1/agents/distances", {"distances": distances | {"z": -1}})
    assert "the distance of agent 'z' is -1" in error["message"]
    assert not commands(core)


async def test_a_large_push_goes_in_parts_between_which_others_are_served(
    core: ScriptedCore, client: httpx.AsyncClient
) -> None:
    distances = {f"agent-{number:07d}": number % 9 for number in range(200_000)}
    body = json.dumps({"epoch": 1, "mode": "replace", "distances": distances}).encode()
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/v1/agents/distances", content=body, headers=headers)
    assert answer.json()["unknown"] == 200_000
    parts = [command for command in commands(core) if isinstance(command, PushDistances)]
    assert [(part.epoch, part.is_whole) for part in parts] == [(1, True)] + [(None, False)] * (
        len(parts) - 1
    )
    assert all(len(part.distances) < 2 * PART for part in parts)
    assert dict(pair for part in parts for pair in part.distances) == distances


async def test_while_a_large_push_is_read_tokens_go_on(
    core: ScriptedCore, client: httpx.AsyncClient
) -> None:
    """Structure, not time: others are answered before the push is."""
    distances = {f"agent-{number:07d}": number % 9 for number in range(200_000)}
    body = json.dumps({"distances": distances}).encode()
    order: list[str] = []

    async def push() -> None:
        headers = {"Content-Type": "application/json"}
        await client.post("/v1/agents/distances", content=body, headers=headers)
        order.append("push")

    async def ask() -> None:
        await client.post("/v1/completions", json={"prompt": "a", "max_tokens": 2})
        order.append("text")

    await asyncio.gather(push(), ask(), ask(), ask())
    assert order == ["text", "text", "text", "push"]


async def test_a_push_is_not_over_before_its_last_part(core: ScriptedCore) -> None:
    body = {"distances": {f"agent-{number}": 1 for number in range(50_000)}}
    async with serving(core) as app, connect(app) as client:
        push = asyncio.create_task(told(client, "/v1/agents/distances", body))
        await until(lambda: app.state.service.agents._turns[""].locked())
        await told(client, "/v1/agents/tick", {"n": 2})
        await push
    assert commands(core)[-1] == TickAgents("", 2)
    assert len(commands(core)) > 2


async def test_only_a_few_pushes_are_in_memory_at_once(core: ScriptedCore) -> None:
    async with serving(core) as app, connect(app) as client:
        agents = app.state.service.agents
        async with agents._turns[""]:
            pushes = [
                asyncio.create_task(told(client, "/v1/agents/distances", {"distances": {"a": n}}))
                for n in range(5)
            ]
            await until(lambda: len(agents._turns[""]._waiters or ()) == MAX_PUSHES)
            await asyncio.sleep(0.05)
            assert len(agents._turns[""]._waiters) == MAX_PUSHES
        answers = await asyncio.gather(*pushes)
    assert [answer["applied"] for answer in answers] == [1] * 5


async def test_a_tick_is_one_step_unless_it_says_more(
    core: ScriptedCore, client: httpx.AsyncClient
) -> None:
    assert await told(client, "/v1/agents/tick") == {"status": "ok"}
    await told(client, "/v1/agents/tick", {"n": 3})
    assert commands(core) == [TickAgents("", 1), TickAgents("", 3)]


@pytest.mark.parametrize(
    ("name", "adapter"),
    [
        ({}, None),
        ({"model": "base"}, None),
        ({"model": "tuned"}, "tuned"),
        ({"model": "base:tuned"}, "tuned"),
        ({"adapter": "tuned"}, "tuned"),
    ],
)
async def test_an_agent_is_registered_with_what_it_will_ask_for(
    core: ScriptedCore, client: httpx.AsyncClient, name: dict[str, str], adapter: str | None
) -> None:
    state = await told(client, "/v1/agents", {"id": "new"} | name)
    assert commands(core)[0] == RegisterAgent(AgentKey("", "new"), adapter)
    assert state == {
        "id": "new",
        "adapter": adapter,
        "running": 0,
        "calls": 0,
        "next_use": "unknown",
        "source": None,
        "kv_bytes_device": 2 * PAGE_BYTES,
        "kv_bytes_host": PAGE_BYTES,
        "adapter_state": None,
    }
    assert await told(client, "/v1/agents/new", method="GET") == state


@pytest.mark.parametrize(
    ("distance", "shown"),
    [
        (NextUse(3.0), {"steps": 3.0}),
        (NextUse(1.5, Unit.SECONDS), {"seconds": 1.5}),
        (NextUse(math.inf), "never"),
        (None, "unknown"),
    ],
)
async def test_a_distance_is_shown_as_requests_say_it(
    core: ScriptedCore, client: httpx.AsyncClient, distance: NextUse | None, shown: Any
) -> None:
    core.adapters.agents.known[A] = AgentStatus("a", distance=distance)
    assert (await told(client, "/v1/agents/a", method="GET"))["next_use"] == shown


async def test_agents_are_listed_page_by_page(client: httpx.AsyncClient) -> None:
    for number in range(4):
        await told(client, "/v1/agents", {"id": f"b{number}"})
    seen, after, has_more = [], "", True
    while has_more:
        page = await told(client, f"/v1/agents?limit=2&after={after}", method="GET")
        seen += [state["id"] for state in page["data"]]
        after, has_more = seen[-1], page["has_more"]
    assert seen == ["a", "b0", "b1", "b2", "b3"]


async def test_what_a_change_does_not_name_stays(
    core: ScriptedCore, client: httpx.AsyncClient
) -> None:
    await told(client, "/v1/agents/a", {"adapter": "tuned"}, "PATCH")
    state = await told(client, "/v1/agents/a", {"next_use": {"seconds": 4}}, "PATCH")
    assert (state["adapter"], state["next_use"]) == ("tuned", {"seconds": 4.0})


@pytest.mark.parametrize(
    ("deed", "verb"),
    [("prefetch", Verb.PREFETCH), ("demote", Verb.DEMOTE), ("evict", Verb.DEMOTE)],
)
@pytest.mark.parametrize(
    ("body", "target", "num_pages"),
    [
        (None, Target.ALL, 5),
        ({}, Target.ALL, 5),
        ({"target": "kv"}, Target.KV, 3),
        ({"target": "adapter"}, Target.ADAPTER, 2),
    ],
)
async def test_state_is_moved_as_asked(
    core: ScriptedCore,
    client: httpx.AsyncClient,
    deed: str,
    verb: Verb,
    body: Any,
    target: Target,
    num_pages: int,
) -> None:
    answer = await told(client, f"/v1/agents/a/{deed}", body)
    assert commands(core) == [MoveAgent(A, verb, target)]
    assert answer == {"outcome": "accepted", "bytes": num_pages * PAGE_BYTES, "eta_ms": 250.0}


async def test_state_is_retained_for_so_long(core: ScriptedCore, client: httpx.AsyncClient) -> None:
    await told(client, "/v1/agents/a/retain", {"ttl_s": 60, "target": "kv"})
    assert commands(core) == [MoveAgent(A, Verb.RETAIN, Target.KV, 60.0)]


@pytest.mark.parametrize("event", Happening)
async def test_events_are_told(
    core: ScriptedCore, client: httpx.AsyncClient, event: Happening
) -> None:
    body = {"agent": "a", "event": event.value, "tool": "walk", "predict_s": 2}
    assert (await told(client, "/v1/events", body))["outcome"] == "accepted"
    assert commands(core) == [TellAgent(A, event, "walk", 2.0)]


async def test_who_is_forgotten_is_gone(core: ScriptedCore, client: httpx.AsyncClient) -> None:
    answer = await told(client, "/v1/agents/a", method="DELETE")
    assert answer["bytes"] == 5 * PAGE_BYTES
    assert commands(core) == [ForgetAgent(A)]
    error = await refusal(client, "/v1/agents/a", None, 404, "DELETE")
    assert error["code"] == "agent_not_found"


CONVERSATION = {"messages": [{"role": "system", "content": "You are calm."}]}


@pytest.mark.parametrize("body", [{"prompt": "You are calm."}, {"prompt": [5, 6, 7]}, CONVERSATION])
@pytest.mark.parametrize("model", [{}, {"adapter": "tuned"}])
async def test_what_prompts_begin_with_is_computed_ahead_and_last_of_all(
    core: ScriptedCore, client: httpx.AsyncClient, body: dict[str, Any], model: dict[str, str]
) -> None:
    answer = await told(client, "/v1/agents/a/warm", body | model | {"cache_salt": "s"})
    [request] = core.requests
    num_tokens = len(request.prompt)
    assert answer == {"outcome": "accepted", "prompt_tokens": num_tokens, "cached_tokens": 4}
    assert (request.sampling.max_tokens, request.cache_salt) == (0, "s")
    assert request.agent and request.agent.key == A
    assert request.priority > 2**31
    assert (request.adapter and request.adapter.name) == model.get("adapter")


async def test_a_warm_conversation_is_what_chat_begins_with(
    core: ScriptedCore, client: httpx.AsyncClient
) -> None:
    await told(client, "/v1/agents/a/warm", CONVERSATION)
    later = [*CONVERSATION["messages"], {"role": "user", "content": "Hello"}]
    await told(client, "/v1/chat/completions", {"messages": later, "max_tokens": 1})
    warm, asked = (request.prompt for request in core.requests)
    assert asked[: len(warm)] == warm


STRANGE = ["a/b", "prefetch", "distances", "a b", "100%", "%2F", "é", "../x", "a/prefetch", "?#"]


@pytest.mark.parametrize("agent_id", STRANGE)
async def test_an_id_may_have_any_characters(
    core: ScriptedCore, client: httpx.AsyncClient, agent_id: str
) -> None:
    path = f"/v1/agents/{quote(agent_id, safe='')}"
    await told(client, "/v1/agents", {"id": agent_id})
    assert (await told(client, path, method="GET"))["id"] == agent_id
    await told(client, f"{path}/prefetch")
    assert commands(core)[-1] == MoveAgent(AgentKey("", agent_id), Verb.PREFETCH)
    await told(client, path, method="DELETE")


@pytest.mark.parametrize("agent_id", ["", "a" * 257])
async def test_a_name_that_nobody_can_have_is_nobody_s(
    core: ScriptedCore, client: httpx.AsyncClient, agent_id: str
) -> None:
    for deed, body in (("", None), ("/warm", {"prompt": "x"}), ("/prefetch", None)):
        method = "POST" if deed else "GET"
        error = await refusal(client, f"/v1/agents/{agent_id}{deed}", body, 404, method)
        assert error["code"] == "agent_not_found"
    assert not core.requests
    assert not commands(core)


BAD: list[tuple[str, str, Any, str | None, str]] = [
    ("POST", "/v1/agents", {}, None, "id"),
    ("POST", "/v1/agents", {"id": ""}, "id", "length >= 1"),
    ("POST", "/v1/agents", {"id": "a" * 257}, "id", "length <= 256"),
    ("POST", "/v1/agents", {"id": "b", "model": "x", "adapter": "y"}, None, "give one of"),
    ("PATCH", "/v1/agents/a", {"next_use": {"steps": -1}}, "next_use", "is -1: expected"),
    ("POST", "/v1/agents/tick", {"n": 0}, "n", "'n' is 0: expected int >= 1"),
    ("POST", "/v1/agents/tick", {"n": 1.5}, "n", "'n' is 1.5: expected int"),
    ("POST", "/v1/agents/a/prefetch", {"target": "gpu"}, "target", '"gpu": invalid'),
    ("POST", "/v1/agents/a/retain", {}, None, "ttl_s"),
    ("POST", "/v1/agents/a/retain", {"ttl_s": -1}, "ttl_s", "'ttl_s' is -1: expected"),
    ("POST", "/v1/agents/a/warm", {}, None, "give one of 'messages' and 'prompt'"),
    ("POST", "/v1/agents/a/warm", {"prompt": ""}, "prompt", "'prompt' is empty"),
    ("POST", "/v1/agents/a/warm", {"prompt": [-1]}, "prompt", "token 0 of 'prompt' is -1"),
    ("POST", "/v1/agents/a/warm", {"prompt": [5] * 129}, "prompt", "129 tokens"),
    ("POST", "/v1/events", {"event": "tool_end"}, None, "agent"),
    ("POST", "/v1/events", {"agent": "a", "event": "nap"}, "event", '"nap": invalid'),
    ("POST", "/v1/events", {"agent": "a", "event": "tool_end", "predict_s": -1}, "predict_s", "-1"),
    ("GET", "/v1/agents?limit=0", None, "limit", "'limit' is"),
]


@pytest.mark.parametrize(("method", "path", "body", "param", "says"), BAD)
async def test_what_is_wrong_is_named(
    core: ScriptedCore,
    client: httpx.AsyncClient,
    method: str,
    path: str,
    body: Any,
    param: str | None,
    says: str,
) -> None:
    error = await refusal(client, path, body, method=method)
    assert says in error["message"]
    assert error["param"] == param
    assert not core.requests
    assert not [c for c in commands(core) if isinstance(c, RegisterAgent | MoveAgent | TellAgent)]


@pytest.mark.parametrize("field", ["model", "adapter"])
@pytest.mark.parametrize(("path", "body"), [("", {"id": "b"}), ("/a/warm", {"prompt": "x"})])
async def test_an_unknown_adapter_is_named_in_its_field(
    client: httpx.AsyncClient, path: str, body: dict[str, str], field: str
) -> None:
    error = await refusal(client, f"/v1/agents{path}", body | {field: "tunde"}, 404)
    assert (error["code"], error["param"]) == ("model_not_found", field)
    assert "'tuned'" in error["message"]


async def test_the_agents_of_another_key_are_as_if_they_were_not_there(
    core: ScriptedCore,
) -> None:
    async with serving(core, replace(a_config(), api_key=KEYS)) as app, connect(app) as client:
        client.headers["Authorization"] = f"Bearer {KEYS[0]}"
        await told(client, "/v1/completions", {"prompt": "x", "agent_id": "mine"})
        assert (await told(client, "/v1/agents/mine", method="GET"))["calls"] == 1
        del client.headers["Authorization"]
        client.headers["X-Api-Key"] = KEYS[1]
        for method, body in (("GET", None), ("DELETE", None), ("PATCH", {})):
            theirs = await refusal(client, "/v1/agents/mine", body, 404, method)
            nobody = await refusal(client, "/v1/agents/none", body, 404, method)
            assert theirs["message"].replace("mine", "none") == nobody["message"]
        assert (await told(client, "/v1/agents", method="GET"))["data"] == []
        push = await told(client, "/v1/agents/distances", {"distances": {"mine": 0}})
        assert (push["applied"], push["unknown"]) == (0, 1)
        for deed in ("prefetch", "evict"):
            assert (await told(client, f"/v1/agents/mine/{deed}"))["outcome"] == "missing"


async def test_a_tenant_is_named_without_its_key(core: ScriptedCore) -> None:
    """By the one that the server knows, wherever it stands."""
    async with serving(core, replace(a_config(), api_key=KEYS)) as app, connect(app) as client:
        for headers in (
            {"Authorization": f"Bearer {KEYS[0]}"},
            {"X-Api-Key": KEYS[0]},
            {"X-Api-Key": KEYS[0], "Authorization": "Bearer stranger"},
        ):
            client.headers = httpx.Headers(headers)
            await told(client, "/v1/completions", {"prompt": "x", "agent_id": "mine"})
    [tenant] = {request.agent.key.tenant for request in core.requests if request.agent}
    assert len(tenant) == 16
    assert not any(tenant in key or key in tenant for key in KEYS)


async def test_too_many_hints_are_refused_for_a_while(core: ScriptedCore) -> None:
    config = replace(a_config(), max_pushes_per_second=1, max_hints_per_second=1)
    async with serving(core, config) as app, connect(app) as client:
        await told(client, "/v1/agents/distances", {"distances": {"a": 1, "b": 1, "c": 1}})
        for path, body in (
            ("/v1/agents/distances", {"distances": {}}),
            ("/v1/agents/tick", {}),
            ("/v1/events", {"agent": "a", "event": "tool_end"}),
            ("/v1/agents", {"id": "b"}),
            ("/v1/agents/a/prefetch", {}),
            ("/v1/agents/a/warm", {"prompt": "x"}),
        ):
            answer = await client.post(path, json=body)
            assert answer.status_code == 429, path
            assert answer.json()["error"]["code"] == "rate_limited"
            assert int(answer.headers["retry-after"]) >= 1
        await told(client, "/v1/agents/a", method="GET")
        await told(client, "/v1/completions", {"prompt": "x", "agent_id": "a"})
    assert len([c for c in commands(core) if isinstance(c, PushDistances)]) == 1


async def test_who_needs_no_key_is_one_tenant(core: ScriptedCore) -> None:
    config = ServerConfig(served_model_name="base", admin_api_key=KEYS)
    async with serving(core, config, PLAIN_TEMPLATE) as app, connect(app) as client:
        client.headers["X-Api-Key"] = KEYS[0]
        await told(client, "/v1/agents/a", method="GET")
