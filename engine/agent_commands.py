"""What users say about agents between their calls, from the command to its reply."""

from collections.abc import Iterator
from math import inf

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
from motet.memory.agent import AgentStatus, Moved, NextUse, Outcome, Pushed, Unit
from motet.memory.agents import Agent, World
from motet.memory.manager import MemoryManager


class AgentCommands:
    """Carries them out at once. None of them fails: what cannot be done is an outcome."""

    def __init__(self, memory: MemoryManager) -> None:
        self._memory = memory
        self._agents = memory.agents

    def reply(self, call_id: int, command: AgentCommand) -> Reply:
        """Raises ModelNotFound for an adapter that nobody knows."""
        match command:
            case PushDistances():
                return Reply(call_id, pushed=self._push(command))
            case TickAgents(tenant, num_steps):
                self._agents.tick(self._agents.world(tenant), num_steps)
                return Reply(call_id)
            case RegisterAgent():
                return Reply(call_id, agents=(self._register(command),))
            case ForgetAgent(key):
                return Reply(call_id, moved=self._forget(self._agents.find(key)))
            case MoveAgent(key, verb, target, ttl_s):
                agent = self._agents.find(key)
                if agent is None:
                    return Reply(call_id, moved=Moved(Outcome.MISSING))
                return Reply(call_id, moved=self._memory.move_agent(agent, verb, target, ttl_s))
            case TellAgent(key, happening, tool, predict_s):
                agent = self._agents.find(key)
                if agent is None:
                    return Reply(call_id, moved=Moved(Outcome.MISSING))
                self._agents.happened(agent, happening, tool, predict_s)
                return Reply(call_id, moved=Moved(Outcome.ACCEPTED))
            case ListAgents():
                return Reply(call_id, agents=tuple(self._listed(command)))

    def _push(self, push: PushDistances) -> Pushed:
        world = self._agents.world(push.tenant)
        if push.epoch is not None:
            if world.epoch is not None and push.epoch <= world.epoch:
                return Pushed(is_stale=True)
            world.epoch = push.epoch
        num_unknown, changed = self._agents.push(
            world, push.distances, push.unit, is_whole=push.is_whole
        )
        return Pushed(len(changed), num_unknown, prefetch_pages=self._memory.pages_coming(changed))

    def _register(self, command: RegisterAgent) -> AgentStatus:
        registry = self._memory.registry
        adapter = registry.current(command.adapter).state if command.adapter else None
        agent = self._agents.meet(command.key)
        self._agents.take_adapter(agent, adapter)
        agent.adapter_name = command.adapter
        return status_of(agent)

    def _forget(self, agent: Agent | None) -> Moved:
        if agent is None:
            return Moved(Outcome.MISSING)
        if agent.num_running:
            return Moved(Outcome.REJECTED)
        return Moved(Outcome.ACCEPTED, self._memory.forget_agent(agent))

    def _listed(self, command: ListAgents) -> Iterator[AgentStatus]:
        world: World = self._agents.world(command.tenant)
        if command.agent_id is not None:
            agent = world.agents.get(command.agent_id)
            if agent is not None:
                yield status_of(agent)
            return
        ids = sorted(agent_id for agent_id in world.agents if agent_id > command.after)
        for agent_id in ids[: command.limit]:
            yield status_of(world.agents[agent_id])


def status_of(agent: Agent) -> AgentStatus:
    """As of now."""
    due, distance = agent.due, None
    if agent.num_running:
        distance = NextUse(0.0)
    elif due is not None:
        unit = Unit.SECONDS if due.clock.is_real else Unit.STEPS
        left = due.at - due.clock.now
        distance = NextUse(left if left == inf else max(0.0, left), unit)
    chain = list(agent.frontier.path()) if agent.frontier else []
    num_on_device = sum(node.is_on_device for node in chain)
    adapter = agent.adapter
    return AgentStatus(
        agent_id=agent.agent_id,
        adapter=agent.adapter_name,
        num_running=agent.num_running,
        num_calls=agent.num_calls,
        distance=distance,
        source=agent.source,
        kv_pages_device=num_on_device,
        kv_pages_host=len(chain) - num_on_device,
        adapter_residency=adapter.state if adapter else None,
    )
