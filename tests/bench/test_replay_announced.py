"""What the engine is told: the truth, nothing, or lies."""

import random

import pytest

from motet.bench.replay.announced import Announcements, Gaps
from motet.bench.replay.arm import Arm, Hints
from motet.bench.replay.costs import COST_MODELS
from motet.bench.replay.state import TraceState
from motet.client.workloads.trace import Push, Trace
from motet.memory.agent import Unit
from tests.bench.replays import a_call, a_trace

PREFIX = (1, 64)


def told(trace: Trace, hints: Hints) -> list[float | None]:
    """With each call."""
    announced = of(trace, hints)
    said = [announced.with_call(call).next_use for call in trace.calls]
    return [None if next_use is None else next_use.value for next_use in said]


def of(trace: Trace, hints: Hints) -> Announcements:
    state = TraceState(trace, COST_MODELS["h200-8b"], 64)
    return Announcements(Arm(hints=hints), state, Gaps.of(trace.calls), random.Random(0))


def three_calls() -> Trace:
    """Of one agent, who says nothing of the last."""
    return a_trace(
        a_call(0, "a", PREFIX, output=10, next_step=4, hint=3.0),
        a_call(1, "a", PREFIX, output=11, step=4, next_step=6, hint=1.0),
        a_call(2, "a", PREFIX, output=12, step=6),
        steps=7,
    )


@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        (Hints.GIVEN, [3.0, 1.0, None]),
        (Hints.NONE, [None, None, None]),
        (Hints.TRUTH, [4.0, 2.0, float("inf")]),
        (Hints.REVERSED, [0.0, 2.0, 0.0]),
        (Hints.ZERO, [0.0, 0.0, 0.0]),
        (Hints.STALE, [0.0, 4.0, 2.0]),
    ],
)
def test_each_word_for_hints_says_something_else(
    hints: Hints, expected: list[float | None]
) -> None:
    assert told(three_calls(), hints) == expected


def test_random_ones_lie_below_twice_the_mean() -> None:
    said = told(three_calls(), Hints.RANDOM)
    assert all(value is not None and 0 <= value <= 6 for value in said)
    assert len(set(said)) == 3


@pytest.mark.parametrize("hints", Hints)
def test_only_what_is_given_is_pushed(hints: Hints) -> None:
    pushed = of(three_calls(), hints).push(Push(0, {"a": 2, "b": -1}))
    assert pushed == ((("a", 2.0), ("b", float("inf"))) if hints is Hints.GIVEN else ())


def test_of_calls_in_time_seconds_are_told_at_the_end() -> None:
    call = a_call(0, "a", PREFIX, output=10, step=None, arrival_s=1.0, next_s=30.0, hint=20.0)
    trace = a_trace(call, steps=None)
    assert [of(trace, hints).after_call(call) for hints in (Hints.GIVEN, Hints.TRUTH)] == [20, 30]
    assert of(trace, Hints.ZERO).after_call(call) is None
    next_use = of(trace, Hints.TRUTH).with_call(call).next_use
    assert next_use is not None and next_use.unit is Unit.SECONDS
