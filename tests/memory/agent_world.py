"""A small world of agents on a memory of their own, for tests that say what happens to them."""

from collections.abc import Sequence
from typing import Any

from motet.memory.adapter_cache import AdapterState
from motet.memory.agent import AgentCall, AgentKey, NextUse, Unit
from motet.memory.agents import Agent
from motet.memory.copy import Copy, CopyEnded, Direction
from motet.memory.costs import Costs
from motet.memory.manager import MemoryManager
from motet.memory.residency import Residency
from tests.engine.factories import PAGE_TOKENS, a_memory

RANK = (0.0, 1)


class AgentWorld:
    """Agents of one tenant, with steps of a second each."""

    def __init__(self, num_pages: int = 12, **memory: Any) -> None:
        defaults: dict[str, Any] = {
            "costs": Costs(page_copy_s=0.001),
            "eviction": "distance_cost",
        }
        self.memory: MemoryManager = a_memory(num_pages, **(defaults | memory))
        self.world = self.memory.agents.world("")
        self.now = 0.0
        self.tick(0)

    def call(
        self,
        name: str,
        tokens: Sequence[int] = (),
        adapter: AdapterState | None = None,
        **call: Any,
    ) -> Agent:
        """A whole call: its prompt and answer are these tokens, and nobody is in the way."""
        memory, words = self.memory, AgentCall(AgentKey("", name), **call)
        agent = memory.arrived(adapter, None, words)
        assert agent is not None
        namespace = memory.namespace(adapter, "")
        prefix: list[Any] = []
        memory.kv.match(prefix, namespace, tokens, len(tokens))
        table = memory.kv.open(namespace, [n for n in prefix if n.is_on_device], RANK)
        assert memory.kv.grow(table, len(tokens))
        memory.kv.seal(table, tokens, len(tokens))
        memory.agents.rest(agent, words, table.nodes)
        memory.kv.close(table)
        memory.agents.end(agent, words)
        memory.check()
        return agent

    def push(self, unit: Unit = Unit.STEPS, *, is_whole: bool = False, **distances: float) -> None:
        told = list(distances.items())
        self.memory.agents.push(self.world, told, unit, is_whole=is_whole)
        self.memory.check()

    def tick(self, num_steps: int = 1) -> None:
        for _ in range(num_steps or 1):
            self.memory.tell_time(self.now)
            self.memory.agents.tick(self.world, min(num_steps, 1))
            self.now += min(num_steps, 1)

    def step(self, num_reserved: int = 0) -> list[Copy]:
        """One step of the engine: what it begins to copy to the device."""
        self.memory.use_links(num_reserved)
        copies = self.memory.transfers().copies
        self.memory.check()
        return [copy for copy in copies if copy.direction is Direction.TO_DEVICE]

    def end(self, copies: Sequence[Copy]) -> None:
        for copy in copies:
            self.memory.ended(CopyEnded(copy.ticket, len(copy.pages)))
        self.memory.check()

    def put_on_host(self, *agents: Agent) -> None:
        """All KV of theirs, and nothing of it is left on the device."""
        for agent in agents:
            assert agent.frontier is not None
            chain = list(agent.frontier.path())
            self.memory._write_back._begin([n for n in chain if n.state is Residency.READY])
            for copy in self.memory.transfers().copies:
                self.memory.ended(CopyEnded(copy.ticket, len(copy.pages)))
            if chain[-1].is_on_device:
                self.memory.room.evict(chain[-1])
        self.memory.transfers()
        self.memory.check()


def text(name: str, num_pages: int) -> list[int]:
    """Tokens that fill so many pages, and begin like no other text."""
    first = 1000 * sum(map(ord, name))
    return list(range(first, first + num_pages * PAGE_TOKENS))


def steps(value: float) -> NextUse:
    return NextUse(value, Unit.STEPS)
