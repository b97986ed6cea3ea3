"""The numbers that each workload promises, measured on what it generates."""

from collections import Counter
from collections.abc import Iterable
from statistics import fmean, median

import numpy as np
import pytest

from motet.client.workloads import generate_trace
from motet.client.workloads.draws import remaining_lognormal, whole_lognormal
from motet.client.workloads.network import followers_of
from motet.client.workloads.tools import HUMAN, TOOLS, gaps
from motet.client.workloads.trace import Call, Trace


def mean_input(trace: Trace) -> float:
    return fmean(call.num_prompt_tokens for call in trace.calls)


def mean_output(trace: Trace) -> float:
    return fmean(call.output.num_tokens for call in trace.calls)


def per_step(calls: Iterable[Call]) -> Counter[int]:
    return Counter(call.step for call in calls if call.step is not None)


@pytest.mark.parametrize("activity", [0.05, 0.2, 0.5])
def test_independent_agents_call_as_often_as_their_activity_says(activity: float) -> None:
    trace = generate_trace("independent", agents=400, steps=100, activity=activity)
    assert len(trace.calls) / (400 * 100) == pytest.approx(activity, rel=0.03)


def test_independent_agents_are_stationary_from_the_first_step_on() -> None:
    counts = per_step(generate_trace("independent", agents=2000, steps=60).calls)
    begin = fmean(counts[step] for step in range(10))
    end = fmean(counts[step] for step in range(50, 60))
    assert begin == pytest.approx(400, rel=0.06)
    assert end == pytest.approx(400, rel=0.06)
    assert all(300 < counts[step] < 500 for step in range(60))


def test_independent_agents_have_the_lengths_ranks_and_hints_that_are_promised() -> None:
    trace = generate_trace("independent", agents=100, steps=100)
    assert mean_input(trace) == pytest.approx(1536 + 160, rel=0.01)
    assert mean_output(trace) == pytest.approx(80, rel=0.03)
    assert {call.prompt[0].num_tokens for call in trace.calls} == {1536}
    assert {min(64, call.prompt[1].num_tokens) for call in trace.calls} == {64}
    ranks = Counter(adapter.rank for adapter in trace.header.adapters.values())
    assert ranks == {8: 25, 16: 25, 32: 25, 64: 25}
    for call in trace.calls:
        if call.next_step is not None and call.step is not None:
            assert call.hint == call.next_step - call.step >= 1
    first = {call.agent: call.step for call in reversed(trace.calls)}
    [push] = trace.pushes
    assert push.distances.items() >= first.items()


def test_what_remains_of_an_action_is_as_in_a_long_row_of_them() -> None:
    rng = np.random.default_rng(0)
    durations = np.array(whole_lognormal(rng, 5.0, 0.5, 20_000))
    remaining = [remaining_lognormal(rng, 5.0, 0.5) for _ in range(5_000)]
    expected = (durations * (durations - 1) / 2).sum() / durations.sum()
    assert fmean(remaining) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_town_is_as_busy_as_generative_agents_at_noon(seed: int) -> None:
    trace = generate_trace("town", agents=100, seed=seed)
    assert len(trace.calls) / 4 == pytest.approx(5000, rel=0.1)
    assert mean_input(trace) == pytest.approx(642, rel=0.05)
    assert mean_output(trace) == pytest.approx(22, rel=0.05)


def test_a_town_is_as_quiet_as_generative_agents_in_the_morning() -> None:
    trace = generate_trace("town", agents=100, start_hour=6)
    assert len(trace.calls) / 4 == pytest.approx(800, rel=0.1)


def test_at_night_a_town_sleeps() -> None:
    trace = generate_trace("town", agents=50, start_hour=2)
    assert not trace.calls
    assert all(distance > 0 for push in trace.pushes for distance in push.distances.values())


def test_the_first_town_is_the_same_with_others_beside_it() -> None:
    def visits(trace: Trace) -> list[tuple[str, int | None]]:
        first = {f"agent-{index}" for index in range(25)}
        return sorted((call.agent, call.step) for call in trace.calls if call.agent in first)

    alone = generate_trace("town", agents=25, steps=60)
    assert visits(generate_trace("town", agents=60, steps=60)) == visits(alone)


def test_dialogues_of_a_town_go_back_and_forth() -> None:
    trace = generate_trace("town", agents=50, steps=120)
    lengths = Counter[int]()
    for call in trace.calls:
        said = call.prompt[3:]
        if call.tool != "talk":
            assert not said
            continue
        lengths[len(said)] += 1
        if said:
            previous = trace.calls[call.after[-1]]
            assert previous.output == said[-1]
            assert previous.agent != call.agent
            assert previous.program == call.program
    assert lengths[0] > 20
    assert lengths[0] >= lengths[3] >= lengths[7] > 0
    assert max(lengths) == 7


def test_what_a_town_announces_is_mostly_right_and_otherwise_too_early() -> None:
    calls = generate_trace("town", agents=50).calls
    off = [
        call.next_step - call.step - call.hint
        for call in calls
        if call.next_step is not None and call.step is not None and call.hint is not None
    ]
    assert 0.7 < fmean(distance == 0 for distance in off) < 0.98
    assert fmean(distance >= 0 for distance in off) > 0.97


def test_posts_reach_few_agents_at_once_and_popular_ones_more_often() -> None:
    trace = generate_trace("diffusion", seed=1)
    assert len(trace.calls) > 500
    assert max(per_step(trace.calls).values()) <= 50
    followers = followers_of(np.random.default_rng(0), 1000, 3)
    degrees = sorted(map(len, followers))
    assert sum(degrees) == 2 * 3 * 997
    assert degrees[-1] > 8 * degrees[500]
    assert all(agent in followers[other] for agent in range(1000) for other in followers[agent])


def test_who_reads_a_post_was_announced_for_that_step() -> None:
    trace = generate_trace("diffusion", seed=1, activity=1.0)
    due: dict[str, int] = {}
    for line in trace.lines():
        if isinstance(line, Call):
            assert due.pop(line.agent) == line.step
        else:
            due |= {agent: line.push + distance for agent, distance in line.distances.items()}


def test_all_agents_answer_each_round_or_some_by_the_hour() -> None:
    everybody = generate_trace("rounds", agents=50, steps=4)
    assert per_step(everybody.calls) == {step: 50 for step in range(4)}
    assert {call.hint for call in everybody.calls if call.step != 3} == {1.0}
    hourly = generate_trace(
        "rounds", agents=1000, steps=8, activity=0.5, hourly=(1.0, 0.0, 0.2), steps_per_hour=2
    )
    counts = per_step(hourly.calls)
    assert [round(counts[step] / 100) for step in range(8)] == [5, 5, 0, 0, 1, 1, 5, 5]


def test_workflows_go_in_circles_with_joins_of_both_kinds() -> None:
    trace = generate_trace("workflow", agents=100)
    by_role = Counter(call.adapter for call in trace.calls)
    assert len(by_role) == 10
    assert by_role["planner"] == pytest.approx(by_role["reviewer"], abs=10)
    joins = Counter(len(call.after) > 2 for call in trace.calls if call.adapter == "expresser")
    assert joins[True] / joins.total() == pytest.approx(0.5, abs=0.1)
    sizes = {call.adapter: call.prompt[0] for call in trace.calls}
    assert all(sizes[call.adapter] == call.prompt[0] for call in trace.calls)
    assert all(1024 <= passage.num_tokens <= 8192 for passage in sizes.values())
    assert max(per_step(trace.calls).values()) <= 10 * 7


def test_tools_take_as_long_as_they_are_said_to() -> None:
    found = gaps(np.random.default_rng(0), 20_000)
    seconds = [gap.seconds for gap in found]
    assert fmean(s < 1 for s in seconds) == pytest.approx(0.86, abs=0.01)
    assert fmean(1 <= s < 10 for s in seconds) == pytest.approx(0.09, abs=0.01)
    assert fmean(s >= 10 for s in seconds) == pytest.approx(0.05, abs=0.01)
    for tool in TOOLS:
        taken = median(gap.seconds for gap in found if gap.tool == tool.name)
        assert taken == pytest.approx(tool.typical_s, rel=0.1)
    humans = [g for g in gaps(np.random.default_rng(0), 20_000, 0.25) if g.tool == HUMAN]
    assert len(humans) == pytest.approx(5000, rel=0.05)
    assert fmean(gap.seconds for gap in humans) == pytest.approx(120, rel=0.05)
    assert {gap.hint_s for gap in humans} == {None}


def test_tool_loops_repeat_their_whole_history() -> None:
    trace = generate_trace("toolloop", agents=300)
    assert len(trace.calls) / 300 == pytest.approx(10.9, rel=0.05)
    before: dict[str, Call] = {}
    for call in trace.calls:
        if call.agent in before:
            previous = before[call.agent]
            history = (*previous.prompt, previous.output)
            assert call.prompt[: len(history)] == history
            assert call.after == (previous.call_id,)
            appended = call.num_prompt_tokens - previous.num_prompt_tokens
            assert 200 <= appended <= 2000
        before[call.agent] = call
    ends = [call.num_prompt_tokens for call in trace.calls if call.is_final]
    assert len(ends) == 300
    assert all(8192 - 2000 <= end <= 65536 for end in ends)
    assert min(ends) < 12_000 and max(ends) > 50_000


def test_subagents_share_their_parents_context_and_report_to_it() -> None:
    trace = generate_trace("subagents", agents=3)
    agents = {call.agent for call in trace.calls}
    assert {call.agent for call in trace.calls if call.is_final} == agents
    assert {agent.count(".") for agent in agents} == {0, 1, 2}
    children = Counter(agent.rpartition(".")[0] for agent in agents if "." in agent)
    assert all(4 <= fan_out <= 12 for fan_out in children.values())
    first: dict[str, Call] = {}
    last: dict[str, Call] = {}
    for call in trace.calls:
        first.setdefault(call.agent, call)
        last[call.agent] = call
    for agent in agents:
        parent = agent.rpartition(".")[0]
        if parent:
            plan = first[parent]
            assert first[agent].after == (plan.call_id,)
            assert first[agent].prompt[:-1] == (*plan.prompt, plan.output)
            assert last[agent].call_id in last[parent].after
            assert last[agent].output in last[parent].prompt


def test_many_adapters_are_asked_for_by_a_power_law_in_bursts() -> None:
    trace = generate_trace("manylora", agents=100, rate=20.0, cv=3.0, duration_s=500.0)
    assert len(trace.calls) == pytest.approx(10_000, rel=0.1)
    assert mean_input(trace) == pytest.approx(260, rel=0.05)
    assert mean_output(trace) == pytest.approx(260, rel=0.05)
    popularity = Counter(call.adapter for call in trace.calls)
    assert popularity["lora-0"] / popularity["lora-9"] == pytest.approx(10, rel=0.3)
    arrivals = [call.arrival_s for call in trace.calls if call.arrival_s is not None]
    apart = np.diff(arrivals)
    assert apart.std() / apart.mean() == pytest.approx(3, rel=0.15)
