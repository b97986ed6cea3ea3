"""Agents, with what they own: /v1/agents."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from motet.client.protocol import (
    MAX_ID_CHARS,
    AgentList,
    AgentModel,
    AgentQuery,
    ChangeAgentRequest,
    RegisterAgentRequest,
)
from motet.engine import Adapter, AgentKey, AgentStatus
from motet.errors import ModelNotFound
from motet.server.http.access import tenant_of
from motet.server.http.agent_control import unknown_agent
from motet.server.http.body import read_body, read_query
from motet.server.http.responses import json_response
from motet.server.http.service import Service
from motet.server.openai.agent_answers import agent_state, move_answer
from motet.server.openai.agent_fields import next_use_of
from motet.server.text.served import Served


async def register_agent(service: Service, http: Request) -> Response:
    """Make an agent known before its first request."""
    served = service.served
    wish = await read_body(service, http, RegisterAgentRequest)
    key = AgentKey(tenant_of(http.scope), wish.id)
    return _answer(service, await _register(service, served, key, wish))


async def list_agents(service: Service, http: Request) -> Response:
    """Agents in order of id, page by page."""
    info = service.served.info
    query = read_query(http, AgentQuery)
    found = await service.agents.listed(tenant_of(http.scope), query.after, query.limit + 1)
    data = [agent_state(status, info.page_bytes) for status in found[: query.limit]]
    return json_response(AgentList(data=data, has_more=len(found) > query.limit))


async def get_agent(service: Service, http: Request) -> Response:
    """One agent, and where its state is."""
    _ = service.served
    return _answer(service, await service.agents.find(agent_key(http)))


async def change_agent(service: Service, http: Request) -> Response:
    """Say anew which adapter it will ask for, or when it will call."""
    served = service.served
    wish = await read_body(service, http, ChangeAgentRequest)
    key = agent_key(http)
    await service.agents.find(key)
    if wish.model or wish.adapter:
        await _register(service, served, key, wish)
    if (expected := next_use_of(wish.next_use)) is not None:
        await service.agents.expect(key, expected)
    return _answer(service, await service.agents.find(key))


async def forget_agent(service: Service, http: Request) -> Response:
    """It will not call again: what it alone owns is given up."""
    info = service.served.info
    moved = await service.agents.forget(agent_key(http))
    return json_response(move_answer(moved, info.page_bytes))


def agent_key(http: Request) -> AgentKey:
    """Whom the path names. Raises AgentNotFound for a name that nobody can have."""
    agent_id = http.path_params["agent"]
    if not 0 < len(agent_id) <= MAX_ID_CHARS:
        raise unknown_agent(agent_id)
    return AgentKey(tenant_of(http.scope), agent_id)


async def adapter_of(
    find: Callable[[Served, str], Awaitable[Adapter | None]], served: Served, wish: AgentModel
) -> Adapter | None:
    """What `find` finds for whichever field has a name. Raises what it raises."""
    try:
        return await find(served, wish.adapter or wish.model or served.name)
    except ModelNotFound as error:
        raise ModelNotFound(str(error), param="adapter" if wish.adapter else "model") from error


async def _register(
    service: Service, served: Served, key: AgentKey, wish: AgentModel
) -> AgentStatus:
    adapter = await adapter_of(service.adapters.look_up, served, wish)
    return await service.agents.register(key, adapter.name if adapter else None)


def _answer(service: Service, status: AgentStatus) -> Response:
    return json_response(agent_state(status, service.engine.info.page_bytes))
