"""No memory event changes a token or a score; and if one did, we would see it."""

import pytest

from tests.engine.faults import FAULTS, Fault
from tests.engine.oracle import run_storm
from tests.engine.storm import FORCED_EVENTS


@pytest.mark.parametrize("seed", range(4))
def test_no_token_or_score_changes_in_a_storm(seed: int) -> None:
    oracle, storm = run_storm(seed, num_tokens=34_000)
    assert oracle.num_wrong == 0
    assert oracle.num_right >= 34_000
    assert oracle.num_right_scores > 6_000
    assert all(storm.forced[event] > 200 for event in FORCED_EVENTS), storm.forced
    memory = storm.scheduler.memory
    for room in (*memory.rooms, memory.host):
        assert room.pool.num_free + room.num_idle_pages == room.pool.num_pages


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_every_planted_fault_changes_a_token_or_score(fault: Fault) -> None:
    oracle, _ = run_storm(7, num_tokens=20_000, sabotage=fault, is_checked=False)
    assert oracle.num_wrong > 0


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 120))
def test_no_token_changes_in_a_long_storm(seed: int) -> None:
    oracle, storm = run_storm(seed, num_tokens=70_000)
    assert oracle.num_wrong == 0
    assert all(storm.forced[event] > 400 for event in FORCED_EVENTS), storm.forced
