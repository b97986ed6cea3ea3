"""The agents of a scripted core: as an engine answers what is said of them, without any memory."""

from collections.abc import Iterable

from msgspec.structs import replace

from motet.engine import (
    AgentKey,
    AgentStatus,
    Moved,
    NextUse,
    Outcome,
    Pushed,
    Request,
    Target,
)
from motet.engine.messages import (
    AgentCommand,
    ForgetAgent,
    ListAgents,
    MoveAgent,
    PushDistances,
    RegisterAgent,
    Reply,
    TellAgent,
    TickAgents,
)

PAGES = {Target.ALL: 5, Target.KV: 3, Target.ADAPTER: 2}
ETA_S = 0.25


class ScriptedAgents:
    """By tenant and id. Each distance below 1 means a page to prefetch."""

    def __init__(self) -> None:
        self.commands: list[AgentCommand] = []
        """Everything that was asked for, in order."""
        self.known: dict[AgentKey, AgentStatus] = {}
        self._epochs: dict[str, int] = {}

    def begin(self, request: Request) -> None:
        """Who calls is known."""
        if request.agent is not None:
            key = request.agent.key
            known = self.known.setdefault(key, AgentStatus(key.agent_id))
            self.known[key] = replace(known, num_calls=known.num_calls + 1)

    def answer(self, call_id: int, command: AgentCommand) -> Reply:
        self.commands.append(command)
        match command:
            case PushDistances():
                return Reply(call_id, pushed=self._push(command))
            case TickAgents():
                return Reply(call_id)
            case RegisterAgent(key, adapter):
                known = self.known.get(key, AgentStatus(key.agent_id))
                self.known[key] = replace(known, adapter=adapter)
                return Reply(call_id, agents=tuple(self._listed(key.tenant, "", key.agent_id)))
            case ListAgents(tenant, after, limit, agent_id):
                return Reply(call_id, agents=tuple(self._listed(tenant, after, agent_id))[:limit])
            case ForgetAgent(key):
                moved = self._moved(key, Target.ALL)
                self.known.pop(key, None)
                return Reply(call_id, moved=moved)
            case MoveAgent(key, _, target):
                return Reply(call_id, moved=self._moved(key, target))
            case TellAgent(key):
                return Reply(call_id, moved=self._moved(key, Target.ALL))

    def _push(self, command: PushDistances) -> Pushed:
        if command.epoch is not None:
            if command.epoch <= self._epochs.get(command.tenant, -1):
                return Pushed(is_stale=True)
            self._epochs[command.tenant] = command.epoch
        applied = pages = 0
        for agent_id, value in command.distances:
            key = AgentKey(command.tenant, agent_id)
            if key in self.known:
                distance = NextUse(value, command.unit)
                self.known[key] = replace(self.known[key], distance=distance, source="push")
                applied += 1
                pages += value < 1
        return Pushed(applied, len(command.distances) - applied, prefetch_pages=pages)

    def _listed(self, tenant: str, after: str, agent_id: str | None) -> Iterable[AgentStatus]:
        for key, status in sorted(self.known.items()):
            is_meant = agent_id in (None, key.agent_id)
            if key.tenant == tenant and key.agent_id > after and is_meant:
                yield replace(status, kv_pages_device=2, kv_pages_host=1)

    def _moved(self, key: AgentKey, target: Target) -> Moved:
        if key not in self.known:
            return Moved(Outcome.MISSING)
        return Moved(Outcome.ACCEPTED, PAGES[target], ETA_S)
