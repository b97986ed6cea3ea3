"""For who runs agents on a motet server: when they will call, and what to do with their state."""

import math
from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote

from msgspec import Struct

from motet.client.client import Client, decode
from motet.client.protocol import (
    AgentEvent,
    AgentList,
    AgentState,
    ChangeAgentRequest,
    MoveAnswer,
    MoveRequest,
    PushAnswer,
    PushRequest,
    RegisterAgentRequest,
    RetainRequest,
    TickRequest,
    WarmAnswer,
    WarmRequest,
)

PAGE_LIMIT = 1000
"""Agents that are asked for at once."""

Target = Literal["all", "kv", "adapter"]


class Agents:
    """Asks through `client`: of the agents of its key. Methods raise ServerError."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def push(
        self,
        distances: Mapping[str, float],
        *,
        unit: Literal["steps", "seconds"] = "steps",
        epoch: int | None = None,
        is_whole: bool = False,
    ) -> PushAnswer:
        """From now on, how far off the next call of each agent is; infinite: never.

        If `is_whole`, nothing is known any more of all others. A push whose `epoch` is not newer
        than the last one's changes nothing, and the answer says so.
        """
        wish = PushRequest(
            distances={a: "never" if math.isinf(d) else d for a, d in distances.items()},
            unit=unit,
            epoch=epoch,
            mode="replace" if is_whole else "merge",
        )
        return decode(await self._client.post("/v1/agents/distances", wish), PushAnswer)

    async def tick(self, num_steps: int = 1) -> None:
        """So many steps are over: all distances in steps are that much nearer."""
        await self._client.post("/v1/agents/tick", TickRequest(n=num_steps))

    async def register(self, wish: RegisterAgentRequest) -> AgentState:
        """Make an agent known before its first request."""
        return decode(await self._client.post("/v1/agents", wish), AgentState)

    async def get(self, agent_id: str) -> AgentState:
        return await self._client.get(_path(agent_id), AgentState)

    async def all(self) -> list[AgentState]:
        """In order of id."""
        found: list[AgentState] = []
        has_more = True
        while has_more:
            after = found[-1].id if found else ""
            params = {"after": after, "limit": str(PAGE_LIMIT)}
            page = await self._client.get("/v1/agents", AgentList, params)
            found += page.data
            has_more = page.has_more and bool(page.data)
        return found

    async def change(self, agent_id: str, wish: ChangeAgentRequest) -> AgentState:
        return decode(await self._client.send("PATCH", _path(agent_id), wish), AgentState)

    async def forget(self, agent_id: str) -> MoveAnswer:
        """It will not call again."""
        return decode(await self._client.send("DELETE", _path(agent_id)), MoveAnswer)

    async def prefetch(self, agent_id: str, target: Target = "all") -> MoveAnswer:
        """Bring its state to the device."""
        return await self._move(agent_id, "prefetch", MoveRequest(target=target))

    async def demote(self, agent_id: str, target: Target = "all") -> MoveAnswer:
        """Its state is not needed on the device."""
        return await self._move(agent_id, "demote", MoveRequest(target=target))

    async def retain(self, agent_id: str, ttl_s: float, target: Target = "all") -> MoveAnswer:
        """Keep its state as if it called again in `ttl_s`."""
        return await self._move(agent_id, "retain", RetainRequest(ttl_s=ttl_s, target=target))

    async def warm(self, agent_id: str, wish: WarmRequest) -> WarmAnswer:
        """Compute what its prompts begin with; answered when that is done."""
        return decode(await self._client.post(_path(agent_id, "warm"), wish), WarmAnswer)

    async def tell(self, event: AgentEvent) -> MoveAnswer:
        """Something has happened to an agent between two calls."""
        return decode(await self._client.post("/v1/events", event), MoveAnswer)

    async def _move(self, agent_id: str, deed: str, wish: Struct) -> MoveAnswer:
        return decode(await self._client.post(_path(agent_id, deed), wish), MoveAnswer)


def _path(agent_id: str, *deed: str) -> str:
    return "/".join(("/v1/agents", quote(agent_id, safe=""), *deed))
