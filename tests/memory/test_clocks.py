"""Steps and seconds beside each other."""

import math

import pytest

from motet.memory.clocks import RealTime, StepClock
from motet.memory.owner import BEYOND_S, UNKNOWN_S, Due, Owner


def a_world(step_s: float, num_steps: int = 50) -> StepClock:
    """Whose steps have taken so long."""
    time = RealTime()
    clock = StepClock(time)
    for _ in range(num_steps):
        clock.tick(1)
        time.now += step_s
    clock.tick(1)
    return clock


def test_what_a_step_takes_is_measured() -> None:
    assert a_world(step_s=7.0).step_s == pytest.approx(7.0, rel=0.01)


def test_several_steps_in_one_tick_count_as_so_many() -> None:
    time = RealTime()
    clock = StepClock(time)
    for _ in range(50):
        clock.tick(5)
        time.now += 10.0
    assert clock.step_s == pytest.approx(2.0, rel=0.01) and clock.now == 250


def test_no_step_is_no_progress() -> None:
    clock = a_world(step_s=1.0)
    now, step_s = clock.now, clock.step_s
    clock.tick(0)
    assert (clock.now, clock.step_s) == (now, step_s)


def test_time_since_the_last_tick_counts_but_never_more_than_a_step() -> None:
    clock = a_world(step_s=4.0)
    at = clock.now + 3
    assert clock.seconds_to(at) == pytest.approx(12.0, rel=0.01)
    clock._time.now += 2.0
    assert clock.seconds_to(at) == pytest.approx(10.0, rel=0.01)
    clock._time.now += 100.0
    assert clock.seconds_to(at) == pytest.approx(8.0, rel=0.01)


def test_who_is_unknown_stands_between_near_and_far() -> None:
    clock, owner = StepClock(RealTime()), Owner()
    assert owner.distance_s == UNKNOWN_S
    owner.place(Due(clock, clock.horizon))
    assert owner.distance_s < UNKNOWN_S
    owner.place(Due(clock, clock.horizon + 1))
    assert owner.distance_s > BEYOND_S > UNKNOWN_S


@pytest.mark.parametrize("at", [0.0, 0.25, 63.9, 64.0, 1000.0, 1e9, 1e300, 1.7e308])
@pytest.mark.parametrize("clock", [RealTime(), StepClock(RealTime())], ids=["seconds", "steps"])
def test_a_key_is_no_later_than_its_moment_and_not_much_sooner(
    clock: RealTime | StepClock, at: float
) -> None:
    due = Due(clock, at)
    grain = max(clock.resolution, at / clock.horizon * clock.resolution)
    assert at - grain <= due.key <= at and due.ends >= at


@pytest.mark.parametrize("at", [math.inf, -math.inf])
def test_never_and_now_are_keys_of_their_own(at: float) -> None:
    assert Due(RealTime(), at).key == at
