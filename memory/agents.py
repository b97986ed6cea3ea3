"""Who calls, what each of them owns, and when they are expected to call again."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from random import Random

from motet.memory.adapter_cache import AdapterCache, AdapterState
from motet.memory.agent import MAX_AGENTS, AgentCall, AgentKey, Happening, NextUse, Unit, Verb
from motet.memory.agreement import must_agree
from motet.memory.clocks import Clock, RealTime, StepClock
from motet.memory.forecast import Errors, Record, Said, Source
from motet.memory.kv_cache import KvCache
from motet.memory.owner import Due
from motet.memory.pauses import Pauses
from motet.memory.prefix import KvOwner, PrefixNode
from motet.memory.schedule import Schedule, Slot

RETAIN_S = 60.0
"""For which state is retained if nobody says for how long."""

SMOOTHING = 0.3
"""Of the average time between two calls of an agent."""


@dataclass(slots=True, eq=False)
class World:
    """The agents of one tenant. How far its sources are right is a matter between these."""

    tenant: str
    clock: StepClock
    record: Record
    pauses: Pauses
    schedule: "Schedule[Agent]"
    """Of all worlds."""
    agents: "dict[str, Agent]" = field(default_factory=dict)
    epoch: int | None = None
    """Of the last push that had one."""


class Agent(KvOwner):
    """Somebody who calls again and again. Owns an adapter, and KV as far as its frontier.

    ```
    last call   [ page | page | page | page | page ]
    next call   [ page | page | page |  other text ]
                               ^ stable: the frontier, once the agent has gone on from there
    ```
    """

    __slots__ = (
        "adapter",
        "adapter_name",
        "agent_id",
        "ended",
        "ended_s",
        "gap",
        "is_open",
        "num_calls",
        "num_kept",
        "num_running",
        "pages",
        "prefetched",
        "program_id",
        "retained",
        "robbed",
        "said",
        "slot",
        "source",
        "tool",
        "world",
    )

    def __init__(self, world: World, agent_id: str) -> None:
        super().__init__()
        self.world = world
        self.agent_id = agent_id
        self.adapter: AdapterState | None = None
        self.adapter_name: str | None = None
        self.num_running = 0
        """Requests that have not ended."""
        self.num_calls = 0
        self.said: Said = {}
        self.source: Source | None = None
        """Who is believed."""
        self.retained: Due | None = None
        """Its state is kept as if it were due then."""
        self.slot: Slot[Agent] | None = None
        """Where it stands in the schedule."""
        self.is_open = False
        """Something of it may have to be brought."""
        self.ended: tuple[Clock, float] | None = None
        """When its last call ended; and in seconds."""
        self.ended_s = 0.0
        self.gap: tuple[Clock, float] | None = None
        """Average time from the end of a call to the next one."""
        self.tool: str | None = None
        self.program_id = agent_id
        self.pages: tuple[int, ...] = ()
        """Hashes of the pages of its last call."""
        self.num_kept = 0
        """With how many of them its next call is expected to begin."""
        self.robbed: tuple[Agent, int] | None = None
        """For whom something of it was evicted, and after how many calls of that one."""
        self.prefetched = 0
        """Pages that were brought for its next call."""

    @property
    def is_expected(self) -> bool:
        """At a moment within the horizon?"""
        due = self.due
        return self.slot is not None and due is not None and due.is_near

    def lose(self) -> None:
        self.world.schedule.reopen(self)

    def __str__(self) -> str:
        return f"agent '{self.agent_id}'"


class Agents:
    """Keeps what is known of them true. Moves nothing but their shelves."""

    def __init__(self, time: RealTime, kv: KvCache, adapters: AdapterCache) -> None:
        self.schedule: Schedule[Agent] = Schedule()
        self.worlds: dict[str, World] = {}
        self.errors = Errors()
        self._time = time
        self._kv = kv
        self._adapters = adapters
        self._expired_s = 0.0
        self._calling = Due(time, -math.inf)
        self._by_use: dict[Agent, None] = {}
        """Who called longest ago, first."""

    def __len__(self) -> int:
        return len(self._by_use)

    def __iter__(self) -> Iterator[Agent]:
        return iter(self._by_use)

    def find(self, key: AgentKey) -> Agent | None:
        world = self.worlds.get(key.tenant)
        return world.agents.get(key.agent_id) if world else None

    def world(self, tenant: str) -> World:
        world = self.worlds.get(tenant)
        if world is None:
            world = self.worlds[tenant] = World(
                tenant,
                StepClock(self._time),
                Record(errors=self.errors),
                Pauses(Random(tenant)),
                self.schedule,
            )
        return world

    def meet(self, key: AgentKey) -> Agent:
        """The agent of this name, known or new."""
        world = self.world(key.tenant)
        agent = world.agents.get(key.agent_id)
        if agent is None:
            self._make_room()
            agent = world.agents[key.agent_id] = Agent(world, key.agent_id)
            self._by_use[agent] = None
        return agent

    # Calls.

    def call(self, call: AgentCall, adapter: AdapterState | None, name: str | None) -> Agent:
        """A request of the agent has come; `name` is what it calls the adapter."""
        agent = self.meet(call.key)
        agent.adapter_name = name
        self._by_use[agent] = self._by_use.pop(agent)
        agent.num_running += 1
        agent.num_calls += 1
        agent.program_id = call.program_id or agent.agent_id
        if agent.num_running == 1:
            self._came(agent)
        if call.supersedes:
            self._let_go(agent)
        if agent.adapter is not adapter:
            self.take_adapter(agent, adapter)
        self.reckon(agent)
        return agent

    def rest(self, agent: Agent, call: AgentCall, chain: Sequence[PrefixNode]) -> None:
        """One of its requests is about to let go of these pages, the first of its text."""
        pages = tuple(hash(node.tokens) for node in chain)
        num_kept = _num_kept(call, agent.pages, pages, self._kv.page_tokens)
        agent.pages, agent.num_kept = pages, num_kept
        self._kv.end_at(agent, chain, num_kept)

    def end(self, agent: Agent, call: AgentCall) -> None:
        """One of its requests has ended."""
        agent.num_running -= 1
        if agent.num_running:
            return
        clock = self._clock_of(agent.world)
        agent.ended, agent.ended_s = (clock, clock.now), self._time.now
        agent.tool = call.tool
        if call.is_final:
            agent.said[Source.HINT] = Due(clock, math.inf, clock.now)
            agent.world.pauses.program_ended(agent.num_calls)
        elif call.next_use is not None:
            agent.said[Source.HINT] = self.due_in(agent, call.next_use)
        if agent.gap is not None and agent.gap[0] is clock:
            agent.said[Source.HABIT] = Due(clock, clock.now + agent.gap[1], clock.now)
        if call.retain_s is not None:
            self.retain(agent, call.retain_s)
        elif call.tool is not None and not agent.world.record.believes(Source.HINT, agent.said):
            self._pause(agent, call.tool)
        self.reckon(agent)

    def waited(self, agent: Agent, seconds: float) -> None:
        """Its call has waited so long for room and state."""
        agent.world.pauses.waited(seconds)

    def merge(self, adapter: AdapterState, into: AdapterState) -> None:
        """They have turned out to be the same."""
        for owner in list(adapter.owners):
            assert isinstance(owner, Agent)
            self.take_adapter(owner, into)

    def take_adapter(self, agent: Agent, adapter: AdapterState | None) -> None:
        """It owns this one from now on."""
        for state, is_owned in ((agent.adapter, False), (adapter, True)):
            if state is not None:
                self._adapters.own(state, agent, is_owned=is_owned)
        agent.adapter = adapter
        self.schedule.reopen(agent)

    # What is said of them.

    def due_in(self, agent: Agent, next_use: NextUse) -> Due:
        clock: Clock = self._time if next_use.unit is Unit.SECONDS else agent.world.clock
        due = Due(clock, clock.now + next_use.value, clock.now)
        if next_use.latest is not None:
            due.ends = max(due.at, clock.now + next_use.latest)
        return due

    def push(
        self, world: World, distances: Sequence[tuple[str, float]], unit: Unit, *, is_whole: bool
    ) -> tuple[int, list[Agent]]:
        """Who simulates the world says this of its agents; with `is_whole`, and nothing of others.

        How many are not known, and those whose distance is another one now.
        """
        if is_whole:
            self._take_back(world, {agent_id for agent_id, _ in distances})
        clock: Clock = self._time if unit is Unit.SECONDS else world.clock
        named: dict[float, list[Agent]] = {}
        num_unknown = 0
        for agent_id, distance in dict(distances).items():
            agent = world.agents.get(agent_id)
            if agent is not None:
                named.setdefault(distance, []).append(agent)
            else:
                num_unknown += 1
        now, changed = clock.now, list[Agent]()
        is_believed = world.record.is_first(Source.PUSH)
        for distance, agents in named.items():
            due = Due(clock, now + distance, now)
            for agent in agents:
                agent.said.pop(Source.HINT, None)  # which is older
                agent.said[Source.PUSH] = due
            self._expect(agents, due, is_believed=is_believed)
            changed += agents
        return num_unknown, changed

    def tick(self, world: World, num_steps: int) -> None:
        """So many of its steps are over."""
        world.clock.tick(num_steps)
        self.expire()

    def pass_time(self) -> None:
        """Called often; looks for late ones as often as their clock can tell."""
        if self._time.now >= self._expired_s + self._time.resolution:
            self._expired_s = self._time.now
            self.expire()

    def happened(
        self, agent: Agent, happening: Happening, tool: str | None, predict_s: float | None
    ) -> None:
        """Something has happened to it between two calls."""
        match happening:
            case Happening.SUMMARISED:
                self._let_go(agent)
            case Happening.TOOL_END:
                agent.said[Source.HINT] = self.due_in(agent, NextUse(0.0, Unit.SECONDS))
            case Happening.TOOL_START | Happening.HUMAN_WAIT:
                agent.tool = tool
                if predict_s is not None:
                    next_use = NextUse(predict_s, Unit.SECONDS)
                    agent.said[Source.HINT] = self.due_in(agent, next_use)
                    agent.retained = None
        self.reckon(agent)

    def wish(self, agent: Agent, verb: Verb, ttl_s: float | None) -> None:
        """Somebody wants its state on the device now, not there, or there for so long."""
        now = self._time.now
        match verb:
            case Verb.PREFETCH:
                agent.said[Source.HINT] = Due(self._time, now, now)
            case Verb.DEMOTE:
                agent.said = {Source.HINT: Due(self._time, now + 2 * self._time.horizon, now)}
                agent.retained = None
            case Verb.RETAIN:
                self.retain(agent, RETAIN_S if ttl_s is None else ttl_s)
        self.reckon(agent)

    def retain(self, agent: Agent, seconds: float) -> None:
        """Keep its state as if it were due then, at the latest."""
        now = self._time.now
        agent.retained = Due(self._time, now + seconds, now)
        agent.retained.ends = agent.retained.at

    def expire(self) -> None:
        """Of who is later than its forecast is worth, something else is known, or nothing."""
        for agent in self.schedule.take_late():
            if agent.tool is not None and not agent.num_running:
                self._expect_tool(agent, agent.tool)
            self.reckon(agent)

    def reckon(self, agent: Agent) -> None:
        """Place it by what is known now."""
        due: Due | None
        if agent.num_running:
            agent.source, due = None, self._calling
        else:
            agent.source, due = agent.world.record.best(agent.said) or (None, None)
        if agent.retained is not None:
            due = self._retained(agent, due)
        if due is not None and -math.inf < due.at < math.inf:
            self.schedule.place(agent, due)
        else:
            agent.slot = None
        agent.place(due)

    def forget(self, agent: Agent) -> None:
        """It will not call again; nobody may wait for it."""
        self._kv.end_at(agent, (), 0)
        self.take_adapter(agent, None)
        agent.said.clear()
        agent.retained = None
        self.reckon(agent)
        del agent.world.agents[agent.agent_id]
        del self._by_use[agent]

    def check(self) -> None:
        """Raise BrokenInvariant where two views of who there is or of what they own disagree."""
        agents = {agent for world in self.worlds.values() for agent in world.agents.values()}
        must_agree("agents of all worlds", agents, set(self._by_use))
        scheduled = set()
        for agent in agents:
            key = (agent.world.tenant, agent.agent_id)
            must_agree(f"who is {agent}", self.find(AgentKey(*key)), agent)
            is_due = agent.due is not None and not math.isinf(agent.due.at)
            must_agree(f"{agent} is scheduled", agent.slot is not None, is_due)
            must_agree(f"{agent} is calling", agent.due is self._calling, agent.num_running > 0)
            if is_due:
                scheduled.add(agent)
        self.schedule.check(scheduled)
        self._check_owned(agents)

    def _check_owned(self, agents: "set[Agent]") -> None:
        owners: dict[AdapterState, set[Agent]] = {}
        ends: dict[PrefixNode, set[Agent]] = {}
        for agent in agents:
            if agent.adapter is not None:
                owners.setdefault(agent.adapter, set()).add(agent)
            if agent.frontier is not None:
                ends.setdefault(agent.frontier, set()).add(agent)
        for adapter in {*self._adapters.states(), *owners}:
            must_agree(f"owners of {adapter}", set(adapter.owners), owners.get(adapter, set()))
        nodes = self._kv.states()
        for node in nodes:
            must_agree(f"who ends at {node}", set(node.ends_of), ends.get(node, set()))
        must_agree("frontiers that are gone", set(ends) - set(nodes), set())
        for agent in agents:
            parts = (agent.adapter, agent.frontier)
            misses = any(part is not None and not part.is_on_device for part in parts)
            if misses and agent.slot is not None:
                must_agree(f"{agent} is open", agent.is_open, True)

    def _expect(self, agents: "list[Agent]", due: Due, *, is_believed: bool) -> None:
        """A push says the same of all of these: as `reckon`, but quickly where that is all there is
        to know."""
        if not is_believed or math.isinf(due.at):
            for agent in agents:
                self.reckon(agent)
            return
        slot = self.schedule.slot(due)
        for agent in agents:
            if agent.num_running or agent.retained is not None:
                self.reckon(agent)
                continue
            agent.source = Source.PUSH
            slot.take(agent)
            agent.place(due)

    def _let_go(self, agent: Agent) -> None:
        """Of all KV that it owns: its next prompt is another one."""
        self._kv.end_at(agent, (), 0)
        agent.pages = ()

    def _take_back(self, world: World, named: set[str]) -> None:
        """What was pushed about all others."""
        for agent in world.agents.values():
            if Source.PUSH in agent.said and agent.agent_id not in named:
                del agent.said[Source.PUSH]
                self.reckon(agent)

    def _came(self, agent: Agent) -> None:
        """The truth about all that was said of it."""
        record = agent.world.record
        for source, due in agent.said.items():
            record.came(source, due)
        agent.said.clear()
        agent.retained = None
        if agent.tool is not None and agent.ended is not None:
            agent.world.pauses.ended(agent.tool, self._time.now - agent.ended_s)
        if agent.ended is not None:
            clock, ended = agent.ended
            gap = clock.now - ended
            if agent.gap is not None and agent.gap[0] is clock:
                gap = agent.gap[1] + SMOOTHING * (gap - agent.gap[1])
            agent.gap = (clock, gap)

    def _pause(self, agent: Agent, tool: str) -> None:
        """It waits for a tool, and nobody says how long that takes."""
        self._expect_tool(agent, tool)
        num_pages = sum(1 for _ in agent.frontier.path()) if agent.frontier else 0
        retention_s = agent.world.pauses.retention_s(tool, self._kv.restore_s(num_pages))
        if retention_s > 0:
            self.retain(agent, retention_s)

    def _expect_tool(self, agent: Agent, tool: str) -> None:
        now = self._time.now
        left_s = agent.world.pauses.left_s(tool, now - agent.ended_s)
        if left_s is not None:
            agent.said[Source.TOOL] = Due(self._time, now + left_s, agent.ended_s)

    def _clock_of(self, world: World) -> Clock:
        """By which its agents live."""
        return world.clock if world.clock.now else self._time

    def _retained(self, agent: Agent, due: Due | None) -> Due | None:
        retained = agent.retained
        assert retained is not None
        if retained.at <= self._time.now or agent.num_running:
            agent.retained = None
            return due
        if due is None or due.clock.seconds_to(due.at) > retained.clock.seconds_to(retained.at):
            return retained
        return due

    def _make_room(self) -> None:
        if len(self._by_use) >= MAX_AGENTS:
            idle = next((agent for agent in self._by_use if not agent.num_running), None)
            if idle is not None:
                self.forget(idle)


def _num_kept(
    call: AgentCall, before: Sequence[int], pages: Sequence[int], page_tokens: int
) -> int:
    """With how many of these pages the next call is expected to begin.

    With all, until a call has left some of the one before it: then with as many as it shares with
    that one. The last page does not count, which ends where an answer did.
    """
    if call.is_final:
        return 0
    if call.keep_tokens is not None:
        return min(len(pages), call.keep_tokens // page_tokens)
    pairs = zip(before, pages, strict=False)
    num_shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return len(pages) if num_shared >= len(before) - 1 else num_shared
