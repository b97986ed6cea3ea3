"""What is known of agents: what they own, and when they will want it."""

import math
import sys
from types import FrameType

import pytest

from motet.memory import agents as agents_module
from motet.memory.agent import AgentKey, Happening, NextUse, Unit, Verb
from motet.memory.agents import RETAIN_S, Agent
from motet.memory.forecast import Source
from motet.memory.owner import UNKNOWN_S
from motet.memory.residency import Worth
from tests.engine.factories import PAGE_TOKENS, an_adapter
from tests.memory.agent_world import AgentWorld, steps, text


def num_owned(agent: Agent) -> int:
    """Pages of KV."""
    return agent.frontier.depth + 1 if agent.frontier else 0


def superseded(world: AgentWorld) -> int:
    return sum(node.worth is Worth.SUPERSEDED for node in world.memory.kv.states())


# What they own.


def test_after_its_first_call_an_agent_owns_all_of_it() -> None:
    world = AgentWorld()
    assert num_owned(world.call("a", text("a", 3))) == 3


def test_who_goes_on_from_its_last_call_owns_all_of_the_next() -> None:
    world = AgentWorld()
    world.call("a", text("a", 2))
    assert num_owned(world.call("a", text("a", 4))) == 4
    assert superseded(world) == 0


def test_what_the_next_call_leaves_is_superseded() -> None:
    world, prompt = AgentWorld(), text("a", 4)
    world.call("a", prompt)
    agent = world.call("a", prompt[: 2 * PAGE_TOKENS] + text("other", 3))
    assert num_owned(agent) == 2
    assert superseded(world) == 2 + 3  # the tails of both: the next one will be another


def test_the_last_page_of_a_call_may_be_another_one_as_it_ends_in_an_answer() -> None:
    world, prompt = AgentWorld(), text("a", 4)
    world.call("a", prompt)
    agent = world.call("a", prompt[: 3 * PAGE_TOKENS] + text("other", 1))
    assert num_owned(agent) == 4


def test_what_another_agent_owns_is_not_superseded() -> None:
    world, prompt = AgentWorld(), text("a", 3)
    world.call("a", prompt)
    world.call("b", prompt)
    world.call("a", text("other", 3))
    other = world.memory.agents.find(AgentKey("", "b"))
    assert other is not None and other.frontier is not None
    assert all(node.worth is Worth.LIVE for node in other.frontier.path())


@pytest.mark.parametrize(("keep_tokens", "num_pages"), [(0, 0), (9, 2), (1000, 3)])
def test_an_agent_that_says_what_it_keeps_owns_that(keep_tokens: int, num_pages: int) -> None:
    assert num_owned(AgentWorld().call("a", text("a", 3), keep_tokens=keep_tokens)) == num_pages


def test_of_a_final_call_nothing_is_kept_and_the_agent_never_expected() -> None:
    world = AgentWorld()
    agent = world.call("a", text("a", 3), is_final=True)
    assert num_owned(agent) == 0 and superseded(world) == 3
    assert agent.distance_s == math.inf


def test_who_has_summarised_owns_nothing_of_before() -> None:
    world = AgentWorld()
    agent = world.call("a", text("a", 3))
    world.memory.agents.happened(agent, Happening.SUMMARISED, None, None)
    world.memory.check()
    assert num_owned(agent) == 0 and superseded(world) == 3
    assert num_owned(world.call("a", text("new", 2))) == 2


def test_a_call_that_supersedes_leaves_all_of_before_but_what_it_repeats() -> None:
    world, prompt = AgentWorld(), text("a", 3)
    world.call("a", prompt)
    agent = world.call("a", prompt[:PAGE_TOKENS] + text("new", 2), supersedes=True)
    assert num_owned(agent) == 3 and superseded(world) == 2


def test_a_page_that_is_asked_for_again_lives_again() -> None:
    world = AgentWorld()
    world.call("a", text("a", 3), is_final=True)
    agent = world.call("a", text("a", 3))
    assert num_owned(agent) == 3 and superseded(world) == 0


def test_a_page_that_is_lost_leaves_the_frontier_before_it() -> None:
    world = AgentWorld()
    agent = world.call("a", text("a", 3))
    assert agent.frontier is not None
    world.memory.kv._drop(agent.frontier)
    world.memory.check()
    assert num_owned(agent) == 2


def test_who_is_forgotten_gives_up_what_it_alone_owned() -> None:
    world, prompt = AgentWorld(), text("a", 3)
    agent = world.call("a", prompt)
    world.call("b", prompt[: 2 * PAGE_TOKENS])
    assert world.memory.forget_agent(agent) == 1
    world.memory.check()
    assert len(world.memory.kv.states()) == 2 and len(world.memory.agents) == 1


def test_two_adapters_that_are_one_have_all_owners() -> None:
    one, two = an_adapter("one"), an_adapter("two")
    world = AgentWorld(adapters=[one, two])
    states = world.memory.adapters.states()
    agents = [world.memory.agents.meet(AgentKey("", name)) for name in "ab"]
    for agent, state in zip(agents, states, strict=True):
        world.memory.agents.take_adapter(agent, state)
    world.memory.agents.merge(states[0], states[1])
    world.memory.check()
    assert set(states[1].owners) == set(agents) and not states[0].owners


def test_who_called_longest_ago_is_forgotten_for_who_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents_module, "MAX_AGENTS", 2)
    world = AgentWorld()
    for name in ("a", "b", "a", "c"):
        world.call(name, text(name, 1))
    assert sorted(agent.agent_id for agent in world.memory.agents) == ["a", "c"]


# When they will want it.


def test_of_what_an_agent_says_and_a_push_the_later_one_counts() -> None:
    world = AgentWorld()
    believed = []
    for distance in (3, 2):
        agent = world.call("a", next_use=steps(distance))
        believed.append((agent.source, agent.distance_s))
        world.push(a=7.0)
        believed.append((agent.source, agent.distance_s))
    assert [source for source, _ in believed] == [Source.HINT, Source.PUSH] * 2
    assert [distance for _, distance in believed] == pytest.approx([3.0, 7.0, 2.0, 7.0])


def test_how_long_it_used_to_be_away_is_known_where_nobody_says_anything() -> None:
    world = AgentWorld()
    world.tick()
    agent = world.call("a")
    assert agent.distance_s == UNKNOWN_S
    for _ in range(3):
        world.tick(4)
        world.call("a")
    assert agent.source is Source.HABIT and agent.gap is not None
    assert agent.gap[1] == pytest.approx(4.0)
    assert agent.due is not None and agent.due.at - agent.due.clock.now == pytest.approx(4.0)


def test_a_call_ends_all_that_was_said_before() -> None:
    world = AgentWorld()
    agent = world.call("a", next_use=steps(3), retain_s=100.0)
    world.call("a")
    assert Source.HINT not in agent.said and agent.retained is None


def test_a_push_of_all_takes_back_what_it_does_not_name() -> None:
    world = AgentWorld()
    agent, other = world.call("a"), world.call("b")
    world.push(a=3.0, b=4.0)
    world.push(a=5.0, is_whole=True)
    assert agent.distance_s == pytest.approx(5.0) and other.due is None


@pytest.mark.parametrize("distance", [0.0, 1e-300, 1e9, 1e300, math.inf])
@pytest.mark.parametrize("unit", Unit)
def test_every_distance_can_be_pushed_and_called_after(distance: float, unit: Unit) -> None:
    world = AgentWorld()
    agent = world.call("a", text("a", 1))
    world.push(unit, a=distance, nobody=distance)
    assert agent.due is not None and not math.isnan(agent.distance_s)
    world.tick(3)
    world.step()
    world.call("a", text("a", 1))
    assert math.isfinite(world.world.record.tracks[Source.PUSH].accuracy)


def test_who_is_overdue_is_unknown_again() -> None:
    world = AgentWorld()
    agent = world.call("a")
    world.push(a=2.0)
    world.tick(3)
    assert agent.due is not None
    world.tick(2)
    assert agent.due is None and agent.distance_s == UNKNOWN_S
    world.memory.check()


@pytest.mark.parametrize(("latest", "last_s"), [(2.0, 3), (50.0, 50), (None, 6)])
def test_who_says_by_when_it_comes_is_expected_until_then(
    latest: float | None, last_s: int
) -> None:
    world = AgentWorld()
    agent = world.call("a", next_use=NextUse(3.0, Unit.SECONDS, latest))
    for second in range(60):
        world.tick()  # tells this second
        assert (agent.due is not None) == (second <= last_s), second


def test_seconds_run_out_without_any_step_of_a_world() -> None:
    world = AgentWorld()
    agent = world.call("a", next_use=NextUse(1.0, Unit.SECONDS))
    world.memory.tell_time(world.now + 10.0)
    world.step()
    assert agent.due is None


def test_where_one_source_has_run_out_another_is_believed() -> None:
    world = AgentWorld()
    agent = world.call("a", next_use=steps(1))
    world.push(a=30.0)
    world.tick(5)
    assert agent.source is Source.PUSH
    world.memory.check()


def test_who_is_retained_stays_near_as_long_as_that_and_no_longer() -> None:
    world = AgentWorld()
    agent = world.call("a")
    world.push(a=math.inf)
    world.memory.agents.wish(agent, Verb.RETAIN, None)
    assert agent.distance_s == pytest.approx(RETAIN_S)
    world.memory.tell_time(world.now + RETAIN_S + 1.0)
    world.step()
    assert agent.retained is None and agent.distance_s == math.inf


def test_who_is_retained_and_expected_sooner_is_expected_sooner() -> None:
    world = AgentWorld()
    agent = world.call("a", next_use=steps(2), retain_s=50.0)
    assert agent.distance_s == pytest.approx(2.0)


def test_who_is_demoted_is_beyond_the_horizon_whatever_was_said() -> None:
    world = AgentWorld()
    agent = world.call("a", next_use=steps(2), retain_s=50.0)
    world.memory.agents.wish(agent, Verb.DEMOTE, None)
    assert agent.distance_s > UNKNOWN_S


def test_a_tool_that_has_answered_brings_its_agent_at_once() -> None:
    world = AgentWorld()
    agent = world.call("a", tool="search")
    world.memory.agents.happened(agent, Happening.TOOL_START, "search", 20.0)
    assert agent.distance_s == pytest.approx(20.0)
    world.memory.agents.happened(agent, Happening.TOOL_END, "search", None)
    assert agent.distance_s == pytest.approx(0.0)


# What it costs.


@pytest.mark.parametrize(("num_pages", "num_others"), [(2, 5), (200, 5), (2, 500)])
def test_a_push_costs_the_same_however_much_they_own_and_however_many_others_there_are(
    num_pages: int, num_others: int
) -> None:
    world = AgentWorld(num_pages=8 * num_pages + num_others + 8)
    for name in "abcd":
        world.call(name, text(name, num_pages), next_use=steps(9))
    for other in range(num_others):
        world.memory.agents.meet(AgentKey("", f"other-{other}"))
    told = [(name, distance) for distance, name in enumerate("abcd", 1)]
    num_calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal num_calls
        num_calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        world.memory.agents.push(world.world, told, Unit.STEPS, is_whole=False)
    finally:
        sys.setprofile(None)
    assert 0 < num_calls < 4 * 40
