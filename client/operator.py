"""For who runs a motet server: its adapters and its memory."""

from urllib.parse import quote

from motet.client.client import Client
from motet.client.protocol import (
    AdapterList,
    AdapterState,
    LoadAdapterRequest,
    Memory,
    UnloadAdapterRequest,
)

PAGE_LIMIT = 1000
"""Adapters that are asked for at once."""


class Operator:
    """Asks through `client`, whose key may have to be an admin's. Methods raise ServerError."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def memory(self) -> Memory:
        """Whose the pages are, who waits, and what has moved."""
        return await self._client.get("/v1/memory", Memory)

    async def adapters(self) -> list[AdapterState]:
        """All of them, in order of name."""
        page = await self._page()
        found = page.data
        while page.has_more and page.data:
            page = await self._page(after=page.data[-1].name)
            found = [*found, *page.data]
        return found

    async def busiest(self, limit: int) -> list[AdapterState]:
        """Those with most requests, as many as there are and at most `limit` names."""
        return (await self._page(limit=limit, in_use=True)).data

    async def first(self, limit: int) -> list[AdapterState]:
        """The first in order of name."""
        return (await self._page(limit=limit)).data

    async def load(self, wish: LoadAdapterRequest) -> None:
        """Until it is there."""
        await self._client.post("/v1/load_lora_adapter", wish)

    async def unload(self, name: str) -> None:
        await self._client.post("/v1/unload_lora_adapter", UnloadAdapterRequest(lora_name=name))

    async def pin(self, name: str, *, is_pinned: bool) -> None:
        """Keep it on the device, or no longer."""
        deed = "pin" if is_pinned else "unpin"
        await self._client.post(f"/v1/adapters/{quote(name, safe='')}/{deed}")

    async def _page(
        self, *, after: str = "", limit: int = PAGE_LIMIT, in_use: bool = False
    ) -> AdapterList:
        params = {"after": after, "limit": str(limit), "in_use": "true" if in_use else "false"}
        return await self._client.get("/v1/adapters", AdapterList, params)
