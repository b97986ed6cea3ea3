"""How many agents are under way at once."""

from motet.engine.thrash import WINDOW_STEPS, ThrashGuard
from motet.memory.agent import AgentKey
from motet.memory.agents import Agent
from motet.memory.owner import Due
from tests.engine.factories import a_memory


def some_agents(num_agents: int) -> list[Agent]:
    """Each with a call that runs."""
    agents = a_memory(8).agents
    met = [agents.meet(AgentKey("", f"agent-{index}")) for index in range(num_agents)]
    for agent in met:
        agent.num_running = 1
    return met


def a_guard(agents: list[Agent], most: int = 8) -> ThrashGuard:
    guard = ThrashGuard(most)
    for agent in agents:
        guard.begun(agent)
    return guard


def pass_window(guard: ThrashGuard, num_useful: int, num_wasted: int) -> None:
    for _ in range(WINDOW_STEPS):
        guard.step(num_useful, num_wasted)


def test_the_limit_falls_when_most_work_is_done_twice_and_grows_back_one_by_one() -> None:
    guard = a_guard(some_agents(8))
    pass_window(guard, 10, 20)
    assert guard.limit == 5
    pass_window(guard, 10, 20)
    assert guard.limit == 3
    for expected in (4, 5, 6, 7, 8, 8):
        pass_window(guard, 20, 10)
        assert guard.limit == expected


def test_beyond_the_limit_nobody_begins_but_those_who_are_under_way() -> None:
    *under_way, newcomer = some_agents(7)
    guard = a_guard(under_way)
    pass_window(guard, 0, 1)
    assert guard.limit == 4
    assert not guard.admits(newcomer, num_running=6)
    assert all(guard.admits(agent, num_running=6) for agent in under_way)
    assert guard.admits(None, num_running=6)


def test_where_nothing_runs_somebody_always_may() -> None:
    *under_way, newcomer = some_agents(3)
    guard = a_guard(under_way, most=1)
    assert not guard.admits(newcomer, num_running=1)
    assert guard.admits(newcomer, num_running=0)


def test_who_comes_right_back_stays_under_way_and_who_is_away_does_not() -> None:
    back, away, newcomer = some_agents(3)
    guard = a_guard([back, away], most=2)
    for agent, seconds in ((back, 0.5), (away, 60.0)):
        agent.num_running = 0
        time = a_memory(8).time
        agent.place(Due(time, seconds))
    assert guard.admits(newcomer, num_running=1)
    assert set(guard.active) == {back}


def test_the_limit_never_falls_to_nothing() -> None:
    guard = a_guard(some_agents(2))
    for _ in range(20):
        pass_window(guard, 0, 1)
    assert guard.limit == 1
