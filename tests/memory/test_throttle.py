"""A simulated link: its rate, on a clock that only sleeping moves."""

import pytest

from motet.memory.device.throttle import BYTES_PER_GIGABIT, NAP_S, SLACK_S, Throttle


class Clock:
    """Sleeps longer than it is told, as real ones do."""

    def __init__(self, oversleep_s: float = 0.0) -> None:
        self.now = 100.0
        self.oversleep_s = oversleep_s
        self.longest_s = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.longest_s = max(self.longest_s, seconds)
        self.now += seconds + self.oversleep_s


def wanted() -> bool:
    return True


@pytest.mark.parametrize("oversleep_s", [0.0, 1e-4, 1.5e-3])
@pytest.mark.parametrize("gbps", [0.5, 1.0, 8.0])
def test_many_bytes_take_their_time_however_badly_the_machine_sleeps(
    gbps: float, oversleep_s: float
) -> None:
    clock = Clock(oversleep_s)
    throttle = Throttle(gbps, clock, clock.sleep)
    chunk_bytes, num_chunks = 4 * 1024**2, 50
    begun_s = clock.now
    for _ in range(num_chunks):
        throttle.pass_on(chunk_bytes, wanted)
    expected_s = chunk_bytes * num_chunks / (gbps * BYTES_PER_GIGABIT)
    assert clock.now - begun_s == pytest.approx(expected_s, abs=2 * (SLACK_S + oversleep_s))


def test_time_without_bytes_is_not_saved_up() -> None:
    clock = Clock()
    throttle = Throttle(1.0, clock, clock.sleep)
    throttle.pass_on(BYTES_PER_GIGABIT, wanted)
    clock.now += 1000
    begun_s = clock.now
    throttle.pass_on(BYTES_PER_GIGABIT, wanted)
    assert clock.now - begun_s == pytest.approx(1.0, abs=SLACK_S)


def test_bytes_that_nobody_wants_any_more_stop_the_pause_and_still_count() -> None:
    clock = Clock()
    throttle = Throttle(1.0, clock, clock.sleep)
    given_up_s = clock.now + 0.1
    throttle.pass_on(BYTES_PER_GIGABIT, lambda: clock.now < given_up_s)
    assert clock.now == pytest.approx(given_up_s, abs=NAP_S)
    assert clock.longest_s <= NAP_S
    throttle.pass_on(BYTES_PER_GIGABIT, wanted)
    assert clock.now == pytest.approx(102.0, abs=SLACK_S)
