"""Whose the pages are, on the device and on the host."""

from starlette.requests import Request
from starlette.responses import Response

from motet.client.protocol import (
    AdapterCounts,
    Memory,
    MovedPages,
    Pages,
    RequestCounts,
    Status,
)
from motet.engine import AdapterMirror, EngineInfo, EngineStats
from motet.engine.messages import ResetPrefixCache
from motet.server.http.responses import json_response
from motet.server.http.service import Service


async def memory(service: Service, http: Request) -> Response:
    """Pages of each tier by owner, who waits, and what has moved: all of one moment."""
    info = service.served.info
    return json_response(_memory(info, service.engine.stats, service.engine.adapters))


async def reset_prefix_cache(service: Service, http: Request) -> Response:
    """Forget all KV that no request uses now, so that prompts are computed again."""
    _ = service.served
    await service.engine.call(ResetPrefixCache())
    return json_response(Status(status="ok"))


def _memory(info: EngineInfo, stats: EngineStats, adapters: AdapterMirror) -> Memory:
    return Memory(
        page_bytes=info.page_bytes,
        pages=Pages(
            total=info.num_pages,
            free=stats.pages_free,
            kv=stats.pages_kv,
            adapter=stats.pages_adapter,
            transfer=stats.pages_transfer,
            quarantined=stats.pages_quarantined,
        ),
        host=Pages(
            total=stats.host_pages,
            free=stats.host_pages_free,
            kv=stats.host_pages_kv,
            adapter=stats.host_pages_adapter,
            transfer=stats.host_pages_transfer,
            quarantined=stats.host_pages_quarantined,
        ),
        requests=RequestCounts(
            running=stats.num_running,
            waiting=stats.num_waiting,
            waiting_for_state=stats.num_waiting_for_state,
        ),
        adapters=AdapterCounts(
            current=len(adapters.current),
            leaving=len(adapters.leaving),
            loads=stats.adapter_loads,
            reads=stats.adapter_reads,
        ),
        moved=MovedPages(
            disk_to_host=stats.read_pages,
            host_to_device=stats.loaded_pages,
            device_to_host=stats.written_back_kv_pages,
        ),
        simulated_link_gbps=info.link_gbps,
    )
