"""For how long state is kept while a tool works."""

from random import Random
from statistics import correlation

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.memory.pauses import ENOUGH, MAX_TOOLS, WINDOW, Durations, Pauses, Programs


def durations_of(*seconds: float) -> Durations:
    durations = Durations()
    for duration in seconds:
        durations.add(duration)
    return durations


def some_pauses(tool: str, *seconds: float) -> Pauses:
    """Each of these durations `ENOUGH` times."""
    pauses = Pauses(Random(0))
    for duration in seconds * ENOUGH:
        pauses.ended(tool, duration)
    return pauses


def test_what_is_left_is_the_median_of_those_that_took_longer() -> None:
    durations = durations_of(1.0, 2.0, 3.0, 10.0, 20.0)
    assert durations.left_s(0.0) == 3.0
    assert durations.left_s(2.5) == 7.5
    assert durations.left_s(15.0) == 5.0


def test_a_tool_that_takes_longer_than_ever_takes_as_long_again() -> None:
    assert durations_of(1.0).left_s(6.0) == 6.0
    assert Durations().left_s(0.0) is None


def test_only_the_last_durations_count() -> None:
    durations = durations_of(*[100.0] * WINDOW, *[1.0] * WINDOW)
    assert durations.left_s(0.0) == 1.0
    assert len(durations.by_size) == len(durations.by_age) == WINDOW


def test_state_is_kept_as_long_as_that_saves_most() -> None:
    mostly_quick = durations_of(*[0.5] * 8, 60.0, 60.0)
    assert mostly_quick.best_retention_s(saved_s=1.0) == 0.5
    assert mostly_quick.best_retention_s(saved_s=1000.0) == 60.0
    assert mostly_quick.best_retention_s(saved_s=0.6) == 0.0  # 0.8 * 0.6 < 0.5


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=30), st.floats(0, 200))
def test_no_other_time_would_save_more(seconds: list[float], saved_s: float) -> None:
    def gain(tau: float) -> float:
        return sum(s <= tau for s in seconds) / len(seconds) * saved_s - tau

    best_s = durations_of(*seconds).best_retention_s(saved_s)
    assert gain(best_s) == pytest.approx(max(0.0, *map(gain, seconds)), abs=1e-9)


def test_queueing_counts_as_much_as_programs_are_alike() -> None:
    pauses = some_pauses("search", 1.0)
    assert pauses.retention_s("search", restore_s=0.5) == 0.0
    for _ in range(200):
        pauses.waited(3.0)
    assert pauses.retention_s("search", restore_s=0.5) == 1.0
    for num_calls in [1] * 50 + [40]:  # what was tells nothing of what comes
        pauses.program_ended(num_calls)
    assert pauses.retention_s("search", restore_s=0.0) == 0.0


def test_a_tool_that_is_not_known_is_judged_by_all_of_them() -> None:
    pauses = some_pauses("search", 2.0)
    assert pauses.left_s("calculator", 0.0) == 2.0
    assert Pauses(Random(0)).left_s("calculator", 0.0) is None


def test_before_enough_is_known_retention_is_random_but_repeats() -> None:
    times = [Pauses(Random(1)).retention_s("search", 1.0) for _ in range(2)]
    assert times[0] == times[1] > 0


def test_tools_that_are_not_used_any_more_are_forgotten() -> None:
    pauses = some_pauses("first", 5.0)
    for index in range(MAX_TOOLS):
        pauses.ended(f"tool-{index}", 1.0)
    assert pauses.left_s("first", 0.0) == 1.0


@given(st.lists(st.integers(1, 30), min_size=2, max_size=40).filter(lambda x: sum(x) > len(x)))
def test_eta_is_a_correlation(lengths: list[int]) -> None:
    programs = Programs()
    for num_calls in lengths:
        programs.add(num_calls)
    made = [k for n in lengths for k in range(1, n + 1)]
    left = [n - k for n in lengths for k in range(1, n + 1)]
    assert programs.eta == pytest.approx(min(1.0, max(0.0, -correlation(made, left))), abs=1e-6)


def test_old_programs_do_not_count() -> None:
    programs = Programs()
    for num_calls in [3, 1, 17] * WINDOW + [7] * WINDOW:
        programs.add(num_calls)
    assert programs.eta == pytest.approx(1.0)
