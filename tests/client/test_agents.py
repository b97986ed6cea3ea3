"""What the client of agents sends, and how it reads the answers."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx
import msgspec
import pytest

from motet.client.agents import Agents
from motet.client.client import Client
from motet.client.protocol import (
    AgentEvent,
    AgentState,
    ChangeAgentRequest,
    ChatMessage,
    MoveAnswer,
    NextUseFields,
    PushAnswer,
    RegisterAgentRequest,
    WarmAnswer,
    WarmRequest,
)
from motet.errors import ServerError

T = TypeVar("T")

STATE = AgentState(
    id="a/b",
    adapter=None,
    running=0,
    calls=1,
    next_use="never",
    source="push",
    kv_bytes_device=0,
    kv_bytes_host=4096,
    adapter_state=None,
)
MOVED = MoveAnswer(outcome="accepted", bytes=4096, eta_ms=0.5)
PUSHED = PushAnswer(applied=2, unknown=0, stale=False, clipped=0, planned_prefetch_bytes=0, epoch=3)
WARMED = WarmAnswer(outcome="accepted", prompt_tokens=5, cached_tokens=0)
PATH = "/v1/agents/a%2Fb"


def asked(ask: Callable[[Agents], Awaitable[T]], answer: msgspec.Struct) -> tuple[T, httpx.Request]:
    """What `ask` returns if the server answers so, and what it was sent."""
    requests: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, content=msgspec.json.encode(answer))

    async def run() -> T:
        async with Client("http://motet", transport=httpx.MockTransport(serve)) as client:
            return await ask(Agents(client))

    result = asyncio.run(run())
    [request] = requests
    return result, request


CASES: list[tuple[Callable[[Agents], Awaitable[Any]], msgspec.Struct, str, str, Any]] = [
    (
        lambda agents: agents.push({"a": 1, "b": math.inf}, unit="seconds", epoch=3),
        PUSHED,
        "POST",
        "/v1/agents/distances",
        {"unit": "seconds", "epoch": 3, "distances": {"a": 1, "b": "never"}},
    ),
    (
        lambda agents: agents.push({}, is_whole=True),
        PUSHED,
        "POST",
        "/v1/agents/distances",
        {"mode": "replace", "distances": {}},
    ),
    (
        lambda agents: agents.register(RegisterAgentRequest(id="a/b", adapter="x")),
        STATE,
        "POST",
        "/v1/agents",
        {"id": "a/b", "adapter": "x"},
    ),
    (lambda agents: agents.get("a/b"), STATE, "GET", PATH, None),
    (
        lambda agents: agents.change("a/b", ChangeAgentRequest(next_use=NextUseFields(seconds=2))),
        STATE,
        "PATCH",
        PATH,
        {"next_use": {"seconds": 2}},
    ),
    (lambda agents: agents.forget("a/b"), MOVED, "DELETE", PATH, None),
    (lambda agents: agents.prefetch("a/b"), MOVED, "POST", f"{PATH}/prefetch", {}),
    (lambda agents: agents.demote("a/b", "kv"), MOVED, "POST", f"{PATH}/demote", {"target": "kv"}),
    (lambda agents: agents.retain("a/b", 9), MOVED, "POST", f"{PATH}/retain", {"ttl_s": 9}),
    (
        lambda agents: agents.warm(
            "a/b", WarmRequest(messages=[ChatMessage(role="system", content="x")])
        ),
        WARMED,
        "POST",
        f"{PATH}/warm",
        {"messages": [{"role": "system", "content": "x"}]},
    ),
    (
        lambda agents: agents.tell(AgentEvent(agent="a/b", event="tool_start", tool="walk")),
        MOVED,
        "POST",
        "/v1/events",
        {"agent": "a/b", "event": "tool_start", "tool": "walk"},
    ),
]


@pytest.mark.parametrize(("ask", "answer", "method", "path", "body"), CASES)
def test_a_call_is_sent_and_its_answer_read(
    ask: Callable[[Agents], Awaitable[Any]],
    answer: msgspec.Struct,
    method: str,
    path: str,
    body: Any,
) -> None:
    result, request = asked(ask, answer)
    assert result == answer
    assert (request.method, request.url.raw_path.decode()) == (method, path)
    assert (msgspec.json.decode(request.content) if request.content else None) == body


def test_a_tick_is_sent() -> None:
    _, request = asked(lambda agents: agents.tick(3), MOVED)
    assert (request.url.path, request.content) == ("/v1/agents/tick", b'{"n":3}')


def test_all_agents_are_asked_for_page_by_page() -> None:
    names = ["a", "b", "c"]

    def serve(request: httpx.Request) -> httpx.Response:
        left = [name for name in names if name > request.url.params["after"]]
        data = [msgspec.to_builtins(msgspec.structs.replace(STATE, id=left[0]))]
        return httpx.Response(200, json={"object": "list", "data": data, "has_more": len(left) > 1})

    async def run() -> list[AgentState]:
        async with Client("http://motet", transport=httpx.MockTransport(serve)) as client:
            return await Agents(client).all()

    assert [state.id for state in asyncio.run(run())] == names


def test_a_refusal_is_an_error() -> None:
    async def run() -> None:
        serve = httpx.MockTransport(
            lambda _: httpx.Response(404, json={"error": {"message": "no"}})
        )
        async with Client("http://motet", transport=serve) as client:
            await Agents(client).get("a")

    with pytest.raises(ServerError, match="answered 404: no"):
        asyncio.run(run())
