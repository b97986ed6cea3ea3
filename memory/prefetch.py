"""Brings what agents will need to the device before they call."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from motet.memory.adapter_cache import AdapterCache
from motet.memory.agents import Agent, Agents
from motet.memory.costs import Costs
from motet.memory.forecast import Source
from motet.memory.kv_cache import KvCache
from motet.memory.mover import Mover
from motet.memory.owner import UNKNOWN_S
from motet.memory.residency import Residency, StateObject
from motet.memory.room import Room

SHARE = 2.0
"""Of what a link moves in a step, the most that is queued ahead: it must not run dry before the
next one, and what is queued was chosen by what was known then."""

STEP_S = 0.01
"""Taken for a step until some have passed."""

MARGIN_STEPS = 0.5
"""Of its world by which what goes has to be needed later than what comes for it."""

MAX_LOOKS = 1000
"""Agents that are looked at in a step. Of whom nothing is missing is not looked at again."""

SMOOTHING = 0.1


@dataclass(slots=True)
class PrefetchCounters:
    """Agents, each for one call. Only grow."""

    issued: dict[str, int] = field(default_factory=lambda: dict.fromkeys(map(str, Source), 0))
    """Copies begun, by who said that they would be needed."""
    useful: int = 0
    """All of it was there when the agent called."""
    late: int = 0
    """A part of it was on its way."""
    wasted: int = 0
    """It was gone again, or not what the agent asked for."""
    pages: int = 0
    inversions: int = 0
    """Agents who lost something to one who called only after them."""


class Prefetcher:
    """Nearest agents first, what each of them owns together: its adapter, then its KV.

    Nothing goes for it that is needed sooner. It stops at the first that does not fit: those behind
    it are needed later. Demand is not its affair: that is begun first, and passes it on the link.
    """

    def __init__(
        self, agents: Agents, kv: KvCache, adapters: AdapterCache, mover: Mover, costs: Costs
    ) -> None:
        self.counters = PrefetchCounters()
        self._agents = agents
        self._kv = kv
        self._adapters = adapters
        self._mover = mover
        self._page_copy_s = costs.page_copy_s or 1e-4
        self._step_s = STEP_S
        self._last_s: float | None = None

    def go_on(self, now: float, num_reserved: int | None) -> None:
        """Once a step; leaves so many pages to those who run. None: all, to those who wait."""
        self._pass_time(now)
        self._give_up_strays()
        if num_reserved is None or self._is_queue_full:
            return
        for agent in islice(self._agents.schedule.nearest_first(), MAX_LOOKS):
            agent.is_open = _misses_something(agent)
            if not agent.is_open:
                continue
            if not self._bring(agent, num_reserved) or self._is_queue_full:
                return

    def called(self, agent: Agent) -> None:
        """Was what was brought for this call of any use, and what went for another's in time?"""
        if agent.robbed is not None:
            robber, num_calls = agent.robbed
            self.counters.inversions += robber.num_calls == num_calls
            agent.robbed = None
        if not agent.prefetched:
            return
        agent.prefetched = 0
        states = [state for state in (agent.adapter, agent.frontier) if state is not None]
        if all(state.is_on_device for state in states):
            self.counters.useful += 1
        elif any(state.state is Residency.LOADING for state in states):
            self.counters.late += 1
        else:
            self.counters.wasted += 1

    def _bring(self, agent: Agent, num_reserved: int) -> bool:
        """False where there is no room for all of it: nobody behind comes before."""
        needed_s = agent.distance_s + MARGIN_STEPS * agent.world.clock.step_s
        adapter = agent.adapter
        if adapter is not None and not adapter.is_on_device:
            if adapter.state is Residency.DISK:
                self._adapters.read_ahead(adapter, needed_s)
            if adapter.state in (Residency.DISK, Residency.READING):
                return True  # its KV is of no use before it
            if adapter.state is Residency.HOST:
                room = self._adapters.room
                if self._free(room, agent, adapter.size, needed_s, num_reserved) < adapter.size:
                    return False
                self._load(agent, [adapter])
        return self._bring_kv(agent, needed_s, num_reserved)

    def _bring_kv(self, agent: Agent, needed_s: float, num_reserved: int) -> bool:
        frontier = agent.frontier
        if frontier is None or frontier.is_on_device or frontier.state is Residency.LOADING:
            return True
        missing = self._kv.missing(frontier)
        if not missing or not self._kv.has_adapter(frontier.namespace):
            return True
        self._kv.claim(agent)
        num_free = self._free(self._kv.room, agent, len(missing), needed_s, num_reserved)
        parent = missing[0].parent
        assert parent is None or parent.is_on_device, "it is needed as soon"
        if num_free:
            self._load(agent, missing[:num_free])
        return num_free == len(missing)

    def _free(
        self, room: Room, agent: Agent, num_pages: int, needed_s: float, num_reserved: int
    ) -> int:
        freed = room.free_for(num_pages, needed_s, num_reserved)
        for owner in freed.robbed:
            if isinstance(owner, Agent):
                owner.robbed = (agent, agent.num_calls)
        return freed.num_pages

    def _load(self, agent: Agent, states: Sequence[StateObject]) -> None:
        room = self._kv.room if states[0] is not agent.adapter else self._adapters.room
        self._mover.load(states, room, is_ahead=True)
        num_pages = sum(state.size for state in states)
        assert agent.source is not None or agent.retained is not None
        self.counters.issued[agent.source or Source.TOOL] += 1
        self.counters.pages += num_pages
        agent.prefetched += num_pages

    @property
    def _is_queue_full(self) -> bool:
        """Is as much on its way as the link moves until the next step?"""
        most_pages = SHARE * self._step_s / self._page_copy_s
        return self._mover.copies.num_pages_ahead >= most_pages

    def _pass_time(self, now: float) -> None:
        if self._last_s is not None:
            step_s = min(max(now - self._last_s, 0.0), 1.0)
            self._step_s += SMOOTHING * (step_s - self._step_s)
        self._last_s = now

    def _give_up_strays(self) -> None:
        """Copies for agents who are not expected any more."""
        for each in [each for each in self._mover.copies if each.is_ahead]:
            owner = each.subjects[0].nearest_owner()
            if not each.is_given_up and (owner is None or owner.distance_s >= UNKNOWN_S):
                self._mover.give_up(each)


def _misses_something(agent: Agent) -> bool:
    """Is any of what it owns not on the device?"""
    adapter, frontier = agent.adapter, agent.frontier
    if adapter is not None and not adapter.is_on_device:
        return True
    return frontier is not None and not frontier.is_on_device
