"""Whose turn it is."""

from dataclasses import replace
from typing import Any

import pytest

from motet.engine.config import BatchConfig
from motet.engine.policy import SCHEDULING, FirstComeFirstServed, ProgramFirstComeFirstServed
from motet.engine.request import Request
from motet.memory.agent import AgentCall, AgentKey
from tests.engine.factories import a_request, a_scheduler
from tests.engine.stepping import ids, step


@pytest.mark.parametrize(
    ("priorities", "expected"),
    [
        ([0, 0, 0], "abc"),
        ([0, 1, -1], "cab"),
        ([2**32, 0, 2**31], "bca"),
        ([0, 0.5, 0], "acb"),
    ],
)
def test_the_lower_priority_goes_first_and_of_equals_the_elder(
    priorities: list[float], expected: str
) -> None:
    requests = [
        replace(a_request(4, 1, request_id=name), priority=priority)
        for name, priority in zip("abc", priorities, strict=True)
    ]
    scheduler = a_scheduler(max_batch_rows=1, policy=FirstComeFirstServed(), requests=requests)
    order = []
    while scheduler.has_work:
        order += ids(step(scheduler)[0])
    assert "".join(order) == expected


def test_the_option_knows_every_policy() -> None:
    for name in SCHEDULING:
        assert BatchConfig(scheduling=name).scheduling == name


def a_call_of(program: str, agent: str, **more: Any) -> Request:
    call = AgentCall(AgentKey("", agent), program, **more)
    return replace(a_request(4, 1), agent=call)


def test_who_began_first_goes_first_with_all_its_calls() -> None:
    policy = ProgramFirstComeFirstServed()
    calls = [("p", "a"), ("q", "b"), ("p", "c"), ("", "d"), ("q", "b"), ("p", "a")]
    requests = [a_call_of(*call) for call in calls]
    ranks = {policy.rank(request, number): number for number, request in enumerate(requests)}
    assert [ranks[rank] for rank in sorted(ranks)] == [0, 2, 5, 1, 4, 3]


def test_of_one_program_the_earlier_step_goes_first() -> None:
    policy = ProgramFirstComeFirstServed()
    calls = [("p", "a", 7), ("p", "b", 5), ("q", "c", 0), ("p", "d", 7), ("p", "e", 5)]
    requests = [a_call_of(program, agent, step=step) for program, agent, step in calls]
    ranks = {policy.rank(request, number): number for number, request in enumerate(requests)}
    assert [ranks[rank] for rank in sorted(ranks)] == [1, 4, 0, 3, 2]


def test_a_request_of_nobody_is_a_program_of_its_own() -> None:
    policy = ProgramFirstComeFirstServed()
    ranks = [policy.rank(a_request(4, 1), number) for number in range(3)]
    assert ranks == sorted(ranks)
    old = policy.rank(a_call_of("p", "a"), 3)
    assert policy.rank(a_request(4, 1), 4) > old
    assert policy.rank(a_call_of("p", "a"), 5) < policy.rank(a_request(4, 1), 4)


def test_priority_counts_before_programs() -> None:
    policy = ProgramFirstComeFirstServed()
    first = policy.rank(a_call_of("p", "a"), 0)
    assert policy.rank(replace(a_call_of("q", "b"), priority=-1), 1) < first


def test_an_agent_whose_last_call_has_come_begins_anew() -> None:
    policy = ProgramFirstComeFirstServed()
    policy.rank(a_call_of("", "a", is_final=True), 0)
    assert policy.rank(a_call_of("", "b"), 1) < policy.rank(a_call_of("", "a"), 2)
