"""What holds of every workload in the table."""

from collections import defaultdict
from dataclasses import fields
from itertools import pairwise

import pytest

from motet.client.workloads import READERS, WORKLOADS, generate_trace
from motet.client.workloads.trace import NEVER, Call, Passage, Trace, encode_lines
from motet.errors import ConfigError
from tests.client.workloads.small import NAMES, SIZES, small_trace


def text_of(trace: Trace) -> bytes:
    return b"".join(encode_lines(trace.header, trace.lines()))


def calls_by_agent(trace: Trace) -> dict[str, list[Call]]:
    found: defaultdict[str, list[Call]] = defaultdict(list)
    for call in trace.calls:
        found[call.agent].append(call)
    return dict(found)


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_give_equal_traces_and_others_do_not(name: str) -> None:
    again = generate_trace(name, seed=0, **SIZES[name])
    assert text_of(again) == text_of(small_trace(name))
    assert text_of(small_trace(name, seed=1)) != text_of(again)


@pytest.mark.parametrize("name", NAMES)
def test_the_header_says_how_to_make_the_trace_again(name: str) -> None:
    header = small_trace(name).header
    assert header.workload == name
    given = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in header.parameters.items()
    }
    assert generate_trace(name, seed=header.seed, **given) == small_trace(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_trace_is_long_enough_to_mean_something(name: str) -> None:
    assert len(small_trace(name).calls) >= 40


@pytest.mark.parametrize("name", NAMES)
def test_calls_wait_for_earlier_ones_only(name: str) -> None:
    trace = small_trace(name)
    assert [call.call_id for call in trace.calls] == list(range(len(trace.calls)))
    step_of = [call.step for call in trace.calls]
    for call in trace.calls:
        assert all(earlier < call.call_id for earlier in call.after)
        if call.step is not None:
            assert all((step_of[earlier] or 0) <= call.step for earlier in call.after)


@pytest.mark.parametrize("name", NAMES)
def test_the_next_use_is_true_to_an_independent_walk(name: str) -> None:
    """Forwards, one agent at a time, while the traces' own is found backwards over all."""
    trace = small_trace(name)
    start: dict[int, float] = {}
    for call in trace.calls:
        latest = max((start[earlier] for earlier in call.after), default=0.0)
        start[call.call_id] = max(latest + call.delay_s, call.arrival_s or 0.0)
    for calls in calls_by_agent(trace).values():
        for call, following in zip(calls, [*calls[1:], None], strict=True):
            if following is None:
                assert call.next_step is call.next_s is None
            elif trace.header.steps is not None:
                assert (call.next_step, call.next_s) == (following.step, None)
            else:
                apart = start[following.call_id] - start[call.call_id]
                assert call.next_step is None
                assert call.next_s == pytest.approx(apart, abs=1e-5)
                assert call.next_s is not None and call.next_s >= 0


@pytest.mark.parametrize("name", ["toolloop", "subagents"])
def test_in_a_closed_loop_the_next_use_is_the_delay_of_who_waits_for_nothing_else(
    name: str,
) -> None:
    checked = 0
    for calls in calls_by_agent(small_trace(name)).values():
        for call, following in pairwise(calls):
            if following.after == (call.call_id,):
                assert call.next_s == pytest.approx(following.delay_s, abs=2e-6)
                checked += 1
    assert checked > 40


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("manylora", "phases")])
def test_an_agents_calls_never_run_at_once_in_a_step_or_a_closed_loop(name: str) -> None:
    trace = small_trace(name)
    for calls in calls_by_agent(trace).values():
        for call, following in pairwise(calls):
            if trace.header.steps is None or call.step == following.step:
                assert waits_for(trace, following, call)


def waits_for(trace: Trace, call: Call, earlier: Call) -> bool:
    ahead, seen = list(call.after), set[int]()
    while ahead:
        number = ahead.pop()
        if number == earlier.call_id:
            return True
        if number > earlier.call_id and number not in seen:
            seen.add(number)
            ahead += trace.calls[number].after
    return False


@pytest.mark.parametrize("name", NAMES)
def test_who_says_that_it_is_final_never_calls_again(name: str) -> None:
    for call in small_trace(name).calls:
        if call.is_final:
            assert call.next_step is call.next_s is call.hint is None


@pytest.mark.parametrize("name", NAMES)
def test_equal_hash_ids_are_equally_long_and_adapters_are_in_the_header(name: str) -> None:
    trace = small_trace(name)
    length: dict[int, int] = {}
    for call in trace.calls:
        assert call.adapter in trace.header.adapters
        for passage in (*call.prompt, call.output):
            assert length.setdefault(passage.hash_id, passage.num_tokens) == passage.num_tokens


@pytest.mark.parametrize("name", NAMES)
def test_every_output_is_a_new_text(name: str) -> None:
    known: set[Passage] = set()
    for call in small_trace(name).calls:
        assert call.output not in known
        known.update((*call.prompt, call.output))


@pytest.mark.parametrize("name", NAMES)
def test_pushes_say_only_what_is_new(name: str) -> None:
    """Whoever follows pushes and hints is never told what it knows already."""
    due: dict[str, float] = {}
    for line in small_trace(name).lines():
        if isinstance(line, Call):
            due.pop(line.agent, None)
            if line.hint is not None and line.step is not None:
                due[line.agent] = line.step + line.hint
            continue
        assert line.distances
        for agent, distance in line.distances.items():
            if distance == NEVER:
                del due[agent]
            else:
                assert agent not in due or max(due[agent], line.push) != line.push + distance
                due[agent] = line.push + distance


def test_every_workload_can_be_seeded_and_sized() -> None:
    for workload in WORKLOADS.values():
        assert {"seed", "agents"} <= {item.name for item in fields(workload)}
    assert set(READERS) == {"motet", "mooncake", "burstgpt"}


def test_what_is_not_given_is_as_the_dataclass_says() -> None:
    trace = generate_trace("rounds", agents=3, steps=None, activity=None)
    assert trace.header.steps == 20
    assert len(trace.calls) == 60


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("cities", {}, "no workload 'cities': take one of independent, town"),
        ("toolloop", {"steps": 3}, "workload toolloop has no steps: it has seed, agents, turns"),
        ("town", {"seed": -1}, "seed is -1: give one that is 0 or more"),
        ("town", {"agents": 0}, "agents is 0: give one that is 1 or more"),
        ("independent", {"activity": 2.0}, "activity is 2: give one that is between 0.001 and 1"),
        ("rounds", {"hourly": (0.5, 3.0)}, "hourly is 3: give one that is between 0 and 1"),
        ("manylora", {"rate": float("nan")}, "rate is nan: give one"),
        ("workflow", {"min_prompt": 9000}, "min_prompt is 9000: give one that is between 1 and"),
    ],
)
def test_what_cannot_be_generated_is_refused(
    name: str, parameters: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        generate_trace(name, **parameters)
