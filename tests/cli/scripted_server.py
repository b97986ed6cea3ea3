"""A real server around a scripted engine, beside the test."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from motet.adapter_places import NOWHERE, AdapterPlaces
from motet.server.http.config import ServerConfig
from tests.server.scripted import ScriptedCore, listening

PATIENCE_S = 60.0


@contextmanager
def scripted_server(
    core: ScriptedCore, config: ServerConfig | None = None, places: AdapterPlaces = NOWHERE
) -> Iterator[str]:
    """Its address."""
    urls: list[str] = []
    is_ready, must_end = threading.Event(), threading.Event()

    async def serve() -> None:
        async with listening(core, config, places=places) as url:
            urls.append(url)
            is_ready.set()
            while not must_end.is_set():
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert is_ready.wait(PATIENCE_S), "it could not start"
        yield urls[0]
    finally:
        must_end.set()
        thread.join()
