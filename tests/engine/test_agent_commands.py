"""Every outcome of what users say about agents."""

import math
import time
from typing import Any

import pytest

from motet.engine.core import handle
from motet.engine.messages import (
    AgentCommand,
    Arrived,
    Call,
    ForgetAgent,
    ListAgents,
    MoveAgent,
    PushDistances,
    RegisterAgent,
    Reply,
    TellAgent,
    TickAgents,
)
from motet.engine.scheduler import Scheduler
from motet.memory.agent import (
    AgentCall,
    AgentKey,
    Happening,
    Moved,
    NextUse,
    Outcome,
    Pushed,
    Target,
    Unit,
    Verb,
)
from tests.engine.factories import a_request, a_scheduler, an_adapter

KEY = AgentKey("tenant", "a")


def reply(scheduler: Scheduler, command: AgentCommand) -> Reply:
    _, [answer] = handle(scheduler, [Call(1, command)], 0.0)
    scheduler.check()
    return answer


def moved(scheduler: Scheduler, command: AgentCommand) -> Moved:
    answer = reply(scheduler, command).moved
    assert answer is not None
    return answer


def push(scheduler: Scheduler, *distances: tuple[str, float], **words: Any) -> Pushed:
    answer = reply(scheduler, PushDistances("tenant", distances, **words)).pushed
    assert answer is not None
    return answer


def with_agents(*names: str, **scheduler: Any) -> Scheduler:
    made = a_scheduler(adapters=[an_adapter()], **scheduler)
    for name in names:
        reply(made, RegisterAgent(AgentKey("tenant", name), "a"))
    return made


def calling(scheduler: Scheduler) -> None:
    request = a_request(agent=AgentCall(KEY), request_id="running")
    assert scheduler.handle(Arrived(request, 0.0)) == ()


COMMANDS = [ForgetAgent(KEY), MoveAgent(KEY, Verb.RETAIN), TellAgent(KEY, Happening.TOOL_END)]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_nobody_of_that_name_is_missing(command: AgentCommand) -> None:
    assert moved(with_agents("b"), command) == Moved(Outcome.MISSING)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_what_is_said_of_a_known_one_is_accepted(command: AgentCommand) -> None:
    assert moved(with_agents("a"), command).outcome is Outcome.ACCEPTED


def test_who_calls_is_not_forgotten() -> None:
    scheduler = with_agents("a")
    calling(scheduler)
    assert moved(scheduler, ForgetAgent(KEY)).outcome is Outcome.REJECTED


def test_who_is_forgotten_is_not_listed() -> None:
    scheduler = with_agents("a", "b")
    moved(scheduler, ForgetAgent(KEY))
    listed = reply(scheduler, ListAgents("tenant")).agents
    assert [status.agent_id for status in listed] == ["b"]


def test_agents_are_listed_in_order_of_id_as_many_as_asked_for() -> None:
    scheduler = with_agents("c", "a", "d", "b")
    listed = reply(scheduler, ListAgents("tenant", after="a", limit=2)).agents
    assert [status.agent_id for status in listed] == ["b", "c"]
    assert reply(scheduler, ListAgents("other")).agents == ()


def test_an_unknown_adapter_is_an_error_and_makes_no_agent() -> None:
    scheduler = with_agents()
    assert reply(scheduler, RegisterAgent(KEY, "nobody")).kind == "ModelNotFound"
    assert len(scheduler.memory.agents) == 0


def test_a_push_says_how_many_it_knew_and_what_will_come() -> None:
    scheduler = with_agents("a", "b")
    pushed = push(scheduler, ("a", 1.0), ("b", math.inf), ("nobody", 1.0))
    assert pushed == Pushed(applied=2, unknown=1, prefetch_pages=2)


def test_a_push_that_is_not_newer_changes_nothing() -> None:
    scheduler = with_agents("a")
    push(scheduler, ("a", 1.0), epoch=5)
    for epoch in (5, 4):
        assert push(scheduler, ("a", 9.0), epoch=epoch) == Pushed(is_stale=True)
    [status] = reply(scheduler, ListAgents("tenant", agent_id="a")).agents
    assert status.distance == NextUse(1.0)


def test_a_tick_brings_everybody_nearer() -> None:
    scheduler = with_agents("a")
    push(scheduler, ("a", 5.0))
    reply(scheduler, TickAgents("tenant", 2))
    [status] = reply(scheduler, ListAgents("tenant", agent_id="a")).agents
    assert status.distance == NextUse(3.0) and status.source == "push"


def test_who_calls_is_at_no_distance() -> None:
    scheduler = with_agents("a")
    calling(scheduler)
    [status] = reply(scheduler, ListAgents("tenant", agent_id="a")).agents
    assert status.distance == NextUse(0.0) and status.num_running == 1


def test_what_is_to_come_is_counted_by_target() -> None:
    scheduler = with_agents("a")
    pages = {t: moved(scheduler, MoveAgent(KEY, Verb.PREFETCH, t)).num_pages for t in Target}
    assert pages == {Target.ALL: 2, Target.KV: 0, Target.ADAPTER: 2}


def test_more_than_the_device_has_is_clipped() -> None:
    scheduler = with_agents("a", num_pages=1)
    assert moved(scheduler, MoveAgent(KEY, Verb.PREFETCH)).outcome is Outcome.CLIPPED


def test_without_prefetch_nothing_is_brought() -> None:
    scheduler = with_agents("a", prefetches=False)
    assert moved(scheduler, MoveAgent(KEY, Verb.PREFETCH)).outcome is Outcome.REJECTED


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize("distance", [0.0, 1e-320, 1e300, 1.7e308, math.inf])
def test_no_distance_does_any_harm(unit: Unit, distance: float) -> None:
    scheduler = with_agents("a")
    assert push(scheduler, ("a", distance), unit=unit).applied == 1
    reply(scheduler, TickAgents("tenant", 10**9))
    calling(scheduler)
    scheduler.plan()
    scheduler.check()


def test_a_million_entries_of_nobody_are_passed_in_no_time() -> None:
    scheduler = with_agents("a")
    entries = tuple((f"nobody-{number}", float(number)) for number in range(10**6))
    start_s = time.perf_counter()
    pushed = push(scheduler, *entries, ("a", 1.0))
    assert (pushed.applied, pushed.unknown) == (1, 10**6)
    assert time.perf_counter() - start_s < 10.0
