"""Whoever calls, and whatever is said of them, every page and every promise is kept."""

import math
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from motet.memory.agent import AgentCall, AgentKey, Happening, NextUse, Unit, Verb
from motet.memory.agents import Agent
from motet.memory.eviction import EVICTION
from tests.memory.test_memory_machine import PATHS, MemoryMachine, Wish, orders, prompts

KEYS = [AgentKey(tenant, name) for tenant in ("", "other") for name in ("a", "b", "c")]

keys = st.sampled_from(KEYS)
distances = st.sampled_from([0.0, 1.0, 2.0, 5.0, 70.0, 1e300, math.inf])
units = st.sampled_from(list(Unit))
calls = st.builds(
    AgentCall,
    keys,
    next_use=st.none() | st.builds(NextUse, distances, units),
    is_final=st.sampled_from([False, False, False, True]),
    retain_s=st.sampled_from([None, None, 0.0, 3.0]),
    keep_tokens=st.sampled_from([None, None, 0, 3, 100]),
)


class AgentMachine(MemoryMachine):
    def __init__(self) -> None:
        super().__init__()
        self.callers: dict[Wish, tuple[Agent, AgentCall]] = {}

    # Calls.

    @rule(call=calls, name=st.none() | st.sampled_from(PATHS), order=orders, tokens=prompts)
    def ask(self, call: AgentCall, name: str | None, order: int, tokens: list[int]) -> None:
        """An agent calls, on an adapter or the base model."""
        num_before = len(self.wishes)
        if name is None:
            self.come(order, tokens)
        else:
            self.want(name, order, tokens)
        for wish in self.wishes[num_before:]:  # unless it was refused
            state = wish.generation.state if wish.generation else None
            agent = self.memory.arrived(state, name, call)
            assert agent is not None
            self.callers[wish] = (agent, call)

    @rule(call=calls, name=st.none() | st.sampled_from(PATHS), order=orders, tokens=prompts)
    def ask_and_hear(
        self, call: AgentCall, name: str | None, order: int, tokens: list[int]
    ) -> None:
        """With nobody between."""
        self.ask(call, name, order, tokens)
        wish = self.wishes[-1] if self.wishes else None
        if wish is None or wish not in self.callers or wish.table is not None:
            return
        self.let_all_come()
        if wish in self.wishes and not wish.has_adapter:
            state = wish.generation.state if wish.generation else None
            if state not in self.ready or state is None:
                return
            wish.has_adapter = True
            self.memory.adapters.acquire(state)
            self.tell_wants(state)
        if wish in self.wishes:
            self.compute_for(wish)
            self.wishes.remove(wish)
            self.close(wish, "close")

    def close(self, wish: Wish, how: str) -> None:
        caller = self.callers.pop(wish, None)
        if caller is not None and wish.table is not None:
            self.memory.agents.rest(*caller, wish.table.nodes)
        super().close(wish, how)
        if caller is not None:
            self.memory.agents.end(*caller)

    # What is said of agents.

    @rule(told=st.dictionaries(keys, distances), unit=units, is_whole=st.booleans())
    def push(self, told: dict[AgentKey, float], unit: Unit, is_whole: bool) -> None:
        for tenant in ("", "other"):
            named = [(key.agent_id, far) for key, far in told.items() if key.tenant == tenant]
            world = self.memory.agents.world(tenant)
            num_known = sum(agent_id in world.agents for agent_id, _ in named)
            num_unknown, changed = self.memory.agents.push(world, named, unit, is_whole=is_whole)
            assert len(changed) == num_known and num_unknown == len(named) - num_known
            assert self.memory.pages_coming(changed) >= 0

    @rule(tenant=st.sampled_from(["", "other"]), num_steps=st.integers(0, 3))
    def tick(self, tenant: str, num_steps: int) -> None:
        self.memory.agents.tick(self.memory.agents.world(tenant), num_steps)

    @rule(seconds=st.sampled_from([0.1, 1.0, 20.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.memory.tell_time(self.now)

    @rule(key=keys, verb=st.sampled_from(Verb), ttl_s=st.sampled_from([None, 0.0, 2.0]))
    def wish(self, key: AgentKey, verb: Verb, ttl_s: float | None) -> None:
        agent = self.memory.agents.find(key)
        if agent is not None:
            self.memory.agents.wish(agent, verb, ttl_s)

    @rule(key=keys, happening=st.sampled_from(Happening), predict_s=st.sampled_from([None, 1.0]))
    def tell(self, key: AgentKey, happening: Happening, predict_s: float | None) -> None:
        agent = self.memory.agents.find(key)
        if agent is not None:
            self.memory.agents.happened(agent, happening, "search", predict_s)

    @rule(key=keys, name=st.none() | st.sampled_from(PATHS))
    def register(self, key: AgentKey, name: str | None) -> None:
        generation = self.memory.registry.meant_by(name) if name else None
        agent = self.memory.agents.meet(key)
        self.memory.agents.take_adapter(agent, generation.state if generation else None)

    @rule(key=keys)
    def forget_agent(self, key: AgentKey) -> None:
        agent = self.memory.agents.find(key)
        if agent is not None and not agent.num_running:
            self.memory.forget_agent(agent)
            assert self.memory.agents.find(key) is None

    def teardown(self) -> None:
        while self.wishes:
            self.end(0, "close")
        for key in KEYS:
            self.forget_agent(key)
        assert not len(self.memory.agents)
        super().teardown()


@pytest.mark.parametrize("eviction", EVICTION)
@pytest.mark.parametrize("num_adapter_pages", [None, 7], ids=["one pool", "split"])
def test_memory_with_agents(eviction: str, num_adapter_pages: int | None) -> None:
    attributes: dict[str, Any] = {"eviction": eviction, "num_adapter_pages": num_adapter_pages}
    machine = type("AgentMachine", (AgentMachine,), attributes)
    run_state_machine_as_test(
        machine, settings=settings(deadline=None, stateful_step_count=60, max_examples=40)
    )
