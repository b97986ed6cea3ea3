"""What to do with an agent's state, and what happens to it: /v1/agents/{agent}/…, /v1/events."""

from starlette.requests import Request
from starlette.responses import Response

from motet.client.protocol import AgentEvent, MoveRequest, RetainRequest
from motet.engine import Target, Verb
from motet.server.http.access import tenant_of
from motet.server.http.body import read_body, read_options
from motet.server.http.responses import json_response
from motet.server.http.routes.agents import agent_key
from motet.server.http.service import Service
from motet.server.openai.agent_answers import move_answer


async def prefetch_agent(service: Service, http: Request) -> Response:
    """Bring its state to the device."""
    _ = service.served
    return await _move(service, http, Verb.PREFETCH, await _wish(service, http))


async def demote_agent(service: Service, http: Request) -> Response:
    """Its state is not needed on the device."""
    _ = service.served
    return await _move(service, http, Verb.DEMOTE, await _wish(service, http))


async def evict_agent(service: Service, http: Request) -> Response:
    """As /demote: what is on the host stays there."""
    return await demote_agent(service, http)


async def retain_agent(service: Service, http: Request) -> Response:
    """Keep its state as if it called again in so many seconds."""
    _ = service.served
    wish = await read_body(service, http, RetainRequest)
    return await _move(service, http, Verb.RETAIN, wish, wish.ttl_s)


async def tell_event(service: Service, http: Request) -> Response:
    """Something has happened to an agent between two calls."""
    info = service.served.info
    event = await read_body(service, http, AgentEvent)
    moved = await service.agents.tell(tenant_of(http.scope), event)
    return json_response(move_answer(moved, info.page_bytes))


async def _wish(service: Service, http: Request) -> MoveRequest:
    return await read_options(service, http, MoveRequest)


async def _move(
    service: Service, http: Request, verb: Verb, wish: MoveRequest, ttl_s: float | None = None
) -> Response:
    moved = await service.agents.move(agent_key(http), verb, Target(wish.target), ttl_s)
    return json_response(move_answer(moved, service.engine.info.page_bytes))
