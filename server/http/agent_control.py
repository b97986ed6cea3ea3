"""What is told and asked of agents: in words of the engine, each tenant for itself."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from motet.client.protocol import AgentEvent, PushAnswer
from motet.engine import (
    AgentKey,
    AgentStatus,
    Engine,
    Happening,
    Moved,
    NextUse,
    Outcome,
    Pushed,
    Target,
    Unit,
    Verb,
)
from motet.engine.messages import (
    AgentCommand,
    ForgetAgent,
    ListAgents,
    MoveAgent,
    PushDistances,
    RegisterAgent,
    TellAgent,
    TickAgents,
)
from motet.errors import AgentNotFound
from motet.server.http.rate import HintRates
from motet.server.openai.distances import Push

MAX_PUSHES = 2
"""Of one tenant in memory at once: each may be large. Others wait unread."""


class AgentControl:
    """Asks the engine, as often as `rates` let a tenant. An agent is named by tenant and id."""

    def __init__(self, engine: Engine, rates: HintRates) -> None:
        self.rates = rates
        self.pushing: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(MAX_PUSHES)
        )
        """To be held by who reads a push of a tenant, until it has been applied."""
        self._engine = engine
        # What a tenant says of time takes effect in order, a push as a whole.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def push(self, tenant: str, push: Push) -> PushAnswer:
        """In parts: the engine takes steps and the loop serves others in between."""
        self.rates.admit_hints(tenant, push.num_agents)
        head, pushed = push.head, Pushed()
        is_whole, epoch = head.mode == "replace", head.epoch
        async with self._turns[tenant]:
            for part in push.parts:
                command = PushDistances(tenant, tuple(part), Unit(head.unit), epoch, is_whole)
                pushed = _sum(pushed, await self._push(command))
                if pushed.is_stale:
                    break
                is_whole, epoch = False, None  # of the push: its other parts follow the first
        known = pushed.applied + pushed.unknown
        return PushAnswer(
            applied=pushed.applied,
            unknown=pushed.unknown,
            stale=pushed.is_stale,
            clipped=0 if pushed.is_stale else max(0, push.num_agents - known),
            planned_prefetch_bytes=pushed.prefetch_pages * self._engine.info.page_bytes,
            epoch=head.epoch,
        )

    async def tick(self, tenant: str, num_steps: int) -> None:
        self.rates.admit_push(tenant)
        async with self._turns[tenant]:
            await self._engine.ask(TickAgents(tenant, num_steps))

    async def register(self, key: AgentKey, adapter: str | None) -> AgentStatus:
        """Raises ModelNotFound."""
        self.rates.admit_hints(key.tenant)
        [status] = (await self._engine.ask(RegisterAgent(key, adapter))).agents
        return status

    async def expect(self, key: AgentKey, next_use: NextUse) -> None:
        """The agent will call so far from now."""
        self.rates.admit_hints(key.tenant)
        distance = (key.agent_id, next_use.value)
        async with self._turns[key.tenant]:
            await self._push(PushDistances(key.tenant, (distance,), next_use.unit))

    async def find(self, key: AgentKey) -> AgentStatus:
        """Raises AgentNotFound."""
        command = ListAgents(key.tenant, limit=1, agent_id=key.agent_id)
        found = (await self._engine.ask(command)).agents
        if not found:
            raise unknown_agent(key.agent_id)
        return found[0]

    async def listed(self, tenant: str, after: str, limit: int) -> Sequence[AgentStatus]:
        """In order of id, behind `after`."""
        return (await self._engine.ask(ListAgents(tenant, after, limit))).agents

    async def forget(self, key: AgentKey) -> Moved:
        """Raises AgentNotFound."""
        moved = await self._move(ForgetAgent(key), key)
        if moved.outcome is Outcome.MISSING:
            raise unknown_agent(key.agent_id)
        return moved

    async def move(
        self, key: AgentKey, verb: Verb, target: Target, ttl_s: float | None = None
    ) -> Moved:
        return await self._move(MoveAgent(key, verb, target, ttl_s), key)

    async def tell(self, tenant: str, event: AgentEvent) -> Moved:
        key = AgentKey(tenant, event.agent)
        command = TellAgent(key, Happening(event.event), event.tool, event.predict_s)
        return await self._move(command, key)

    async def _move(self, command: AgentCommand, key: AgentKey) -> Moved:
        self.rates.admit_hints(key.tenant)
        moved = (await self._engine.ask(command)).moved
        assert moved is not None, "the engine tells what has become of it"
        return moved

    async def _push(self, command: PushDistances) -> Pushed:
        pushed = (await self._engine.ask(command)).pushed
        assert pushed is not None, "the engine tells what has become of it"
        return pushed


def _sum(first: Pushed, then: Pushed) -> Pushed:
    return Pushed(
        first.applied + then.applied,
        first.unknown + then.unknown,
        then.is_stale,
        first.prefetch_pages + then.prefetch_pages,
    )


def unknown_agent(agent_id: str) -> AgentNotFound:
    return AgentNotFound(
        f"there is no agent {agent_id!r:.80}: one is known from its first request on, or from "
        "POST /v1/agents",
        param="id",
    )
