"""Who is believed when several say when an agent will call."""

import math

import pytest

from motet.memory.clocks import RealTime, StepClock
from motet.memory.forecast import LEAST_ACCURACY, Record, Source
from motet.memory.owner import Due


def a_clock() -> StepClock:
    clock = StepClock(RealTime())
    clock.tick(10)
    return clock


def say(record: Record, source: Source, clock: StepClock, distance: float, truth: int) -> None:
    """The source says that the agent calls after `distance` steps; it does after `truth`."""
    due = Due(clock, clock.now + distance, clock.now)
    clock.tick(truth)
    record.came(source, due)


def test_of_those_who_are_equally_right_who_knows_more_is_believed() -> None:
    clock = a_clock()
    said = {source: Due(clock, clock.now + 3, clock.now) for source in Source}
    believed = []
    while (best := Record().best(said)) is not None:
        believed.append(best[0])
        del said[best[0]]
    assert believed == [Source.HINT, Source.PUSH, Source.TOOL, Source.HABIT]


def test_a_source_that_lies_is_found_out_and_the_next_is_believed() -> None:
    clock, record = a_clock(), Record()
    said = {source: Due(clock, math.inf, clock.now) for source in (Source.PUSH, Source.HABIT)}
    for _ in range(20):
        assert record.tracks[Source.PUSH].accuracy > LEAST_ACCURACY
        say(record, Source.PUSH, clock, distance=40, truth=2)
        say(record, Source.HABIT, clock, distance=2, truth=2)
    best = record.best(said)
    assert best is not None and best[0] is Source.HABIT


def test_a_liar_alone_is_as_if_nobody_said_anything() -> None:
    clock, record = a_clock(), Record()
    for _ in range(40):
        say(record, Source.HINT, clock, distance=40, truth=1)
    assert record.best({Source.HINT: Due(clock, clock.now + 1, clock.now)}) is None


def test_who_tells_the_truth_again_is_believed_again() -> None:
    clock, record = a_clock(), Record()
    said = {Source.PUSH: Due(clock, math.inf, clock.now)}
    for _ in range(60):
        say(record, Source.PUSH, clock, distance=40, truth=1)
    assert record.best(said) is None
    for _ in range(20):
        say(record, Source.PUSH, clock, distance=4, truth=4)
    assert record.best(said) is not None


def test_what_is_overdue_for_as_long_as_it_was_away_is_not_believed() -> None:
    clock, record = a_clock(), Record()
    said = {Source.PUSH: Due(clock, clock.now + 5, clock.now)}
    clock.tick(10)
    assert record.best(said) is not None
    clock.tick(1)
    assert record.best(said) is None


@pytest.mark.parametrize(
    ("distance", "truth", "accuracy"),
    [(4.0, 4, 1.0), (0.0, 0, 1.0), (3.0, 4, 0.8), (math.inf, 4, 0.0), (1e300, 4, 0.0)],
)
def test_accuracy_is_by_how_long_the_agent_was_away(
    distance: float, truth: int, accuracy: float
) -> None:
    record = Record()
    say(record, Source.HINT, a_clock(), distance, truth)
    track = record.tracks[Source.HINT]
    assert track.accuracy == pytest.approx(1 + 0.05 * (accuracy - 1))
    errors = record.errors
    assert errors.num_calls == {"hint/steps": 1}
    assert errors.sums["hint/steps"] == min(abs(distance - truth), 64.0)
