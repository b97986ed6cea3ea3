"""No memory event changes a token or a score; and if one did, we would see it."""

from collections import Counter
from functools import partial

import pytest

from tests.engine.faults import FAULTS, Fault
from tests.engine.oracle import run_storm
from tests.engine.storm import FORCED_EVENTS


@pytest.mark.parametrize("seed", range(4))
def test_no_token_or_score_changes_in_a_storm(seed: int) -> None:
    oracle, storm = run_storm(seed, num_tokens=25_000)
    assert oracle.num_wrong == 0
    assert oracle.num_right >= 25_000
    assert oracle.num_right_scores > 4_000
    assert all(storm.forced[event] >= 5 for event in FORCED_EVENTS), storm.forced
    memory = storm.scheduler.memory
    states = memory.adapters.states()
    num_pinned = sum(state.num_pages for state in states if state.num_pins and state.is_on_device)
    room = memory.room
    assert room.pool.num_free + room.num_idle_pages + num_pinned == room.pool.num_pages
    assert memory.host.pool.num_free + memory.host.num_idle_pages == memory.host.pool.num_pages


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_every_planted_fault_changes_a_token_or_score(fault: Fault) -> None:
    """In one of a few storms: most do in all of them."""
    storm = partial(run_storm, num_tokens=20_000, sabotage=fault, is_checked=False)
    assert any(storm(seed)[0].num_wrong for seed in range(7, 11))


@pytest.mark.soak
def test_no_token_changes_in_long_storms() -> None:
    forced: Counter[str] = Counter()
    num_right = 0
    for seed in range(100, 120):
        oracle, storm = run_storm(seed, num_tokens=27_000)
        assert oracle.num_wrong == 0
        num_right += oracle.num_right
        forced.update(storm.forced)
    assert num_right >= 500_000
    assert all(forced[event] >= 1_000 for event in FORCED_EVENTS), forced
