"""When agents will call, as far as somebody knows: /v1/agents/distances, /v1/agents/tick."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from motet.client.protocol import Status, TickRequest
from motet.server.http.access import tenant_of
from motet.server.http.body import JSON, blocks, media_type, not_json, read_bytes, read_options
from motet.server.http.responses import json_response
from motet.server.http.service import Service
from motet.server.openai.distances import Push, parse_push, parse_update
from motet.server.openai.push_lines import PushLines

NDJSON = "application/x-ndjson"
MAX_PUSH_BYTES = 64 * 1024 * 1024


async def push_distances(service: Service, http: Request) -> Response:
    """How far off the next calls of agents are; also as NDJSON, whose first line has no agents."""
    return await _push(service, http, parse_push, has_lines=media_type(http) == NDJSON)


async def update(service: Service, http: Request) -> Response:
    """As /v1/agents/distances, in the words of ScaleSim: all that is known."""
    return await _push(service, http, parse_update, has_lines=False)


async def tick(service: Service, http: Request) -> Response:
    """Steps are over: all distances in steps are so much nearer."""
    _ = service.served
    wish = await read_options(service, http, TickRequest)
    await service.agents.tick(tenant_of(http.scope), wish.n)
    return json_response(Status(status="ok"))


async def _push(
    service: Service, http: Request, parse: Callable[[bytes], Push], *, has_lines: bool
) -> Response:
    """Nothing is applied before all has been read."""
    _ = service.served
    tenant = tenant_of(http.scope)
    service.agents.rates.admit_push(tenant)
    async with service.agents.pushing[tenant]:
        if has_lines:
            push = await _read_lines(service, http)
        elif media_type(http) == JSON:
            push = await service.aside.run(parse, await read_bytes(http, MAX_PUSH_BYTES))
        else:
            raise not_json()
        return json_response(await service.agents.push(tenant, push))


async def _read_lines(service: Service, http: Request) -> Push:
    lines = PushLines()
    async for block in blocks(http, MAX_PUSH_BYTES):
        await service.aside.run(lines.feed, block)
    return await service.aside.run(lines.finish)
