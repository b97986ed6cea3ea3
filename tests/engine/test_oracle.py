"""No memory event changes a token or a score; and if one did, we would see it."""

from collections import Counter
from functools import partial

import pytest

from motet.errors import BrokenInvariant
from motet.memory.eviction import EVICTION
from tests.engine.agent_faults import AGENT_FAULTS
from tests.engine.agent_storm import AGENT_EVENTS
from tests.engine.faults import FAULTS, Fault
from tests.engine.oracle import run_storm
from tests.engine.storm import FORCED_EVENTS


@pytest.mark.parametrize("seed", range(2))
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


@pytest.mark.parametrize("prefetches", [True, False], ids=["prefetch", "no prefetch"])
@pytest.mark.parametrize("eviction", EVICTION)
def test_nothing_that_is_said_of_agents_changes_a_token(eviction: str, prefetches: bool) -> None:
    storm = partial(run_storm, has_agents=True, eviction=eviction, prefetches=prefetches)
    oracle, ran = storm(12, num_tokens=2_000)
    assert oracle.num_wrong == 0 and oracle.num_right >= 2_000
    assert all(ran.forced[event] >= 1 for event in AGENT_EVENTS), ran.forced
    counters = ran.scheduler.memory.prefetcher.counters
    assert (sum(counters.issued.values()) > 20) is prefetches


@pytest.mark.soak
@pytest.mark.parametrize("prefetches", [True, False], ids=["prefetch", "no prefetch"])
@pytest.mark.parametrize("eviction", EVICTION)
def test_nothing_that_is_said_of_agents_changes_a_token_in_long_storms(
    eviction: str, prefetches: bool
) -> None:
    num_right = 0
    for seed in range(200, 203):
        oracle, _ = run_storm(
            seed, num_tokens=21_000, has_agents=True, eviction=eviction, prefetches=prefetches
        )
        assert oracle.num_wrong == 0
        num_right += oracle.num_right
    assert num_right >= 500_000 // (2 * len(EVICTION))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_every_planted_fault_changes_a_token_or_score(fault: Fault) -> None:
    """In one of a few storms: most do in all of them."""
    storm = partial(run_storm, num_tokens=20_000, sabotage=fault, is_checked=False)
    assert any(storm(seed)[0].num_wrong for seed in range(7, 11))


@pytest.mark.parametrize("fault", AGENT_FAULTS, ids=lambda fault: fault.__name__)
def test_every_fault_in_what_is_moved_for_agents_is_seen(fault: Fault) -> None:
    """By a check, or by a wrong token. In one of a few storms: most are in the first."""
    assert any(_is_seen(fault, seed) for seed in range(3))


def _is_seen(fault: Fault, seed: int) -> bool:
    try:
        oracle, _ = run_storm(seed, 6_000, fault, has_agents=True, eviction="distance_cost")
    except (BrokenInvariant, AssertionError):
        return True
    return oracle.num_wrong > 0


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
