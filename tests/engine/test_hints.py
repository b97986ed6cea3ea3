"""What is said of agents changes when bytes move, and never a token."""

import math
import random
from collections.abc import Callable

import pytest

from motet.engine.core import EngineCore
from motet.engine.fake.lines import Lines
from motet.engine.fake.link import LinkCost, VirtualLink
from motet.engine.fake.virtual import VirtualEngine
from motet.engine.inbox import Inbox
from motet.engine.messages import Arrived, Call, PushDistances, TickAgents
from motet.memory.agent import AgentCall, AgentKey
from motet.memory.costs import Costs
from motet.memory.eviction import EVICTION
from motet.memory.forecast import Source
from motet.memory.prefetch import PrefetchCounters
from tests.engine.factories import (
    VOCAB_SIZE,
    a_request,
    a_scheduler,
    an_adapter,
    an_executor,
    an_info,
)

NUM_AGENTS, NUM_STEPS = 40, 40
ADAPTERS = [an_adapter(f"a{number}") for number in range(6)]

Plan = list[list[int]]
"""Who calls in each step of the world."""
Say = Callable[[Plan, int, random.Random], list[tuple[int, float]]]
"""What is told of agents after a step: distances."""


def the_truth(plan: Plan, step: int, rng: random.Random) -> list[tuple[int, float]]:
    def distance(agent: int) -> float:
        coming = (later for later in range(step + 1, len(plan)) if agent in plan[later])
        return float(next(coming, math.inf) - step - 1)

    return [(agent, distance(agent)) for agent in range(NUM_AGENTS)]


def the_reverse(plan: Plan, step: int, rng: random.Random) -> list[tuple[int, float]]:
    told = the_truth(plan, step, rng)
    return [(agent, max(0.0, len(plan) - distance)) for agent, distance in told]


def anything(plan: Plan, step: int, rng: random.Random) -> list[tuple[int, float]]:
    return [(agent, float(rng.randrange(30))) for agent in range(NUM_AGENTS)]


def what_was_true_long_ago(plan: Plan, step: int, rng: random.Random) -> list[tuple[int, float]]:
    return the_truth(plan, max(0, step - 20), rng)


def nothing(plan: Plan, step: int, rng: random.Random) -> list[tuple[int, float]]:
    return []


SAID: list[Say] = [the_truth, the_reverse, anything, what_was_true_long_ago, nothing]


def live(
    say: Say, eviction: str = "distance_cost"
) -> tuple[dict[str, list[int]], PrefetchCounters]:
    """All answers of a small world, and what was brought ahead in it."""
    rng = random.Random(0)
    plan = [rng.sample(range(NUM_AGENTS), 3) for _ in range(NUM_STEPS)]
    histories = [tuple(rng.choices(range(VOCAB_SIZE), k=24)) for _ in range(NUM_AGENTS)]
    scheduler = a_scheduler(
        num_pages=90, adapters=ADAPTERS, costs=Costs(page_copy_s=0.01), eviction=eviction
    )
    inbox, lines = Inbox(), Lines(*(VirtualLink(LinkCost(page_s=0.01)) for _ in range(3)))
    executor = an_executor(scheduler, inbox, lines)
    engine = VirtualEngine(EngineCore(an_info(), scheduler, executor, inbox), executor)
    answers: dict[str, list[int]] = {}
    others = random.Random(1)

    def turn() -> None:
        for output in engine.turn().outputs:
            if output.token_id is not None:
                answers[output.request_id].append(output.token_id)

    for step, callers in enumerate(plan):
        for agent in callers:
            prompt = (*histories[agent], *rng.choices(range(VOCAB_SIZE), k=3))
            prompt = prompt if len(prompt) < 100 else prompt[:24]
            call = AgentCall(AgentKey("", f"{agent}"))
            adapter, name = ADAPTERS[agent % len(ADAPTERS)], f"{agent} in step {step}"
            inbox.put(Arrived(a_request(prompt, 6, adapter, name, agent=call), engine.now))
            answers[name], histories[agent] = [], prompt
        while any(len(answers[f"{agent} in step {step}"]) < 6 for agent in callers):
            turn()
        for agent in callers:
            histories[agent] += tuple(answers[f"{agent} in step {step}"])
        inbox.put(Call(2 * step, TickAgents("")))
        distances = tuple((f"{agent}", distance) for agent, distance in say(plan, step, others))
        inbox.put(Call(2 * step + 1, PushDistances("", distances)))
        scheduler.check()
        for _ in range(10):  # the world goes on
            turn()
            executor.clock.now += 0.1
            executor.end_copies()
    return answers, scheduler.memory.prefetcher.counters


def test_whatever_is_said_the_answers_are_the_same() -> None:
    answers = [live(say)[0] for say in SAID]
    assert all(each == answers[0] for each in answers) and len(answers[0]) > 3 * NUM_STEPS // 2


@pytest.mark.parametrize("eviction", EVICTION)
def test_where_distances_are_told_they_decide_what_is_brought(eviction: str) -> None:
    issued = live(the_truth, eviction)[1].issued
    num_told = issued[Source.PUSH] + issued[Source.HINT]
    assert num_told > 20 and num_told >= 0.8 * sum(issued.values())


def test_without_hints_none_of_them_is_the_reason() -> None:
    issued = live(nothing)[1].issued
    assert issued[Source.PUSH] == issued[Source.HINT] == 0
