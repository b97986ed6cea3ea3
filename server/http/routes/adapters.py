"""Adapters, with where each generation is: /v1/adapters."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence

from starlette.requests import Request
from starlette.responses import Response

from motet.client.protocol import AdapterList, AdapterQuery, AdapterState
from motet.engine import AdapterStatus, Engine, Residency
from motet.engine.messages import ListAdapters
from motet.errors import ModelNotFound
from motet.server.http.body import read_query
from motet.server.http.responses import json_response
from motet.server.http.service import Service

TIERS = {
    Residency.ABSENT: "disk",
    Residency.DISK: "disk",
    Residency.READING: "disk",
    Residency.HOST: "host",
    Residency.LOADING: "host",
    Residency.READY: "device",
    Residency.WRITEBACK: "device",
    Residency.DUAL: "device",
}
"""Where all of it is, the nearest to the computation."""


async def list_adapters(service: Service, http: Request) -> Response:
    """Generations in order of name, page by page; or those in use, the busiest first."""
    _ = service.served
    query = read_query(http, AdapterQuery)
    if query.in_use:
        busy = await _in_use(service.engine, query.limit)
        return json_response(AdapterList(data=states(busy), has_more=False))
    found = await service.engine.call(ListAdapters(query.after, query.limit + 1))
    page = _page(found, query.limit)
    return json_response(AdapterList(data=states(page), has_more=len(page) < len(found)))


async def pin_adapter(service: Service, http: Request) -> Response:
    """Keep it on the device, whatever else needs room."""
    return await _pin(service, http, is_pinned=True)


async def unpin_adapter(service: Service, http: Request) -> Response:
    """Let it be evicted again."""
    return await _pin(service, http, is_pinned=False)


def states(found: Iterable[AdapterStatus]) -> list[AdapterState]:
    """As they travel."""
    return [
        AdapterState(
            name=status.adapter.name,
            generation=status.adapter.generation,
            digest=status.adapter.digest,
            standing=status.standing.value,
            state=status.state.value,
            tier=TIERS[status.state],
            rank=status.adapter.max_rank or None,
            pages=status.adapter.num_pages or None,
            hits=status.hits,
            loads=status.loads,
            evictions=status.evictions,
            waiting=status.num_waiting,
            running=status.num_running,
            pinned=status.is_pinned,
            path=status.adapter.path,
            last_error=status.last_error,
        )
        for status in found
    ]


async def _pin(service: Service, http: Request, *, is_pinned: bool) -> Response:
    name = http.path_params["name"]
    try:
        found = await service.adapters.pin(service.served, name, is_pinned=is_pinned)
    except ModelNotFound as error:
        raise ModelNotFound(str(error), code="adapter_not_loaded", param="name") from error
    return json_response(AdapterList(data=states(found), has_more=False))


async def _in_use(engine: Engine, limit: int) -> list[AdapterStatus]:
    """Of the names that most requests are on."""
    counts = Counter(
        item.request.adapter.name for item in engine.unfinished if item.request.adapter
    )
    names = [name for name, _ in counts.most_common(limit)]
    found = await asyncio.gather(*(engine.call(ListAdapters(name=name)) for name in names))
    return [status for generations in found for status in generations]


def _page(found: Sequence[AdapterStatus], limit: int) -> Sequence[AdapterStatus]:
    """At most `limit`; no name is cut in two, unless it alone has more."""
    if len(found) <= limit:
        return found
    cut = found[limit].adapter.name
    whole = [status for status in found[:limit] if status.adapter.name != cut]
    return whole or found[:limit]
