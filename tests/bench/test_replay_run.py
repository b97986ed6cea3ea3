"""Every workload on every policy: it ends, memory agrees, and nobody knows more than belady."""

import pytest

from motet.bench.replay.arm import Arm, Hints
from motet.client.workloads import WORKLOADS
from motet.memory.eviction import BELADY, EVICTION
from tests.bench.replays import a_call, a_setting, a_trace, an_arm, run, small_trace

ORDERED = [name for name in EVICTION if name.startswith("distance")]
UNORDERED = [name for name in EVICTION if name not in ORDERED]
"""Do not go by distance, as prefetching does."""
POLICIES = [
    *(an_arm(eviction, prefetch=False) for eviction in EVICTION),
    *(an_arm(eviction, prefetch=True) for eviction in ORDERED),
]


@pytest.mark.parametrize("name", WORKLOADS)
def test_no_policy_beats_belady_by_more_than_two_in_a_hundred(name: str) -> None:
    """Which calls share steps is not its affair, so both of its rows count."""
    setting = a_setting(small_trace(name))
    oracle = [run(setting, an_arm(BELADY, prefetch)) for prefetch in (False, True)]
    best_s = min(row.makespan_s for row in oracle)
    for arm in POLICIES:
        row = run(setting, arm)
        assert (row.calls, row.expected_tokens) == (oracle[0].calls, oracle[0].expected_tokens)
        assert 0 <= row.recomputed_share <= 1
        assert row.makespan_s > 0.98 * best_s, arm


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("eviction", UNORDERED)
def test_prefetching_beside_an_order_without_distances_ends(
    name: str, eviction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motet.bench.replay.run.PATIENCE_TURNS", 3000)
    row = run(a_setting(small_trace(name)), an_arm(eviction, prefetch=True))
    assert row.calls == len(small_trace(name).calls)


@pytest.mark.parametrize("hints", Hints)
def test_whatever_is_announced_the_run_ends(hints: Hints) -> None:
    for name in ("independent", "town", "manylora"):
        row = run(a_setting(small_trace(name)), Arm(hints=hints, noise_steps=2.0))
        assert row.hints == hints


def test_a_split_pool_runs_too() -> None:
    row = run(a_setting(small_trace("independent"), ratio=0.6), Arm(pool_split="0.3"))
    assert row.pool_split == "0.3"


def test_a_replay_is_the_same_each_time() -> None:
    arm = Arm(noise_steps=2.0)
    assert run(a_setting(small_trace("town")), arm) == run(a_setting(small_trace("town")), arm)


def test_prefixes_that_stay_are_found_and_what_a_step_takes_is_counted() -> None:
    calls = [
        a_call(step, "a", (1, 640), (2 + step, 64), output=20 + step, step=step, next_step=step + 1)
        for step in range(3)
    ]
    row = run(a_setting(a_trace(*calls), ratio=8.0), Arm())
    assert (row.expected_tokens, row.found_tokens) == (2 * 640, 2 * 640)
    assert row.steps_per_s == pytest.approx(3 / row.makespan_s)
    assert row.busy_s == pytest.approx(row.makespan_s)
    assert (row.loaded_bytes, row.stall_s) == (0, 0)
