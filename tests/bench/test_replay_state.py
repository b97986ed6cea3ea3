"""How much state a trace has, on traces made by hand."""

import pytest

from motet.bench.replay.costs import COST_MODELS
from motet.bench.replay.state import TraceState
from motet.errors import ConfigError
from tests.bench.replays import PAGE_TOKENS, a_call, a_trace

COST = COST_MODELS["h200-8b"]
ADAPTER_PAGES = COST.adapter_pages(16, ("q", "v"), PAGE_TOKENS)


def test_the_state_is_adapters_and_what_will_be_wanted_again() -> None:
    own, new = (1, 640), (2, 64)
    trace = a_trace(
        a_call(0, "a", own, new, output=10, adapter="x"),
        a_call(1, "a", own, (3, 64), output=11, adapter="x", step=1),
    )
    assert TraceState(trace, COST, PAGE_TOKENS).num_pages == 10 + ADAPTER_PAGES


def test_what_several_agents_share_counts_once() -> None:
    system = (1, 128)
    calls = [
        a_call(2 * step + index, agent, system, (2 + index, 64), (20 + step, 32), output=40 + step)
        for step in range(2)
        for index, agent in enumerate("ab")
    ]
    assert TraceState(a_trace(*calls), COST, PAGE_TOKENS).num_pages == 2 + 1 + 1


def test_who_calls_once_keeps_nothing() -> None:
    state = TraceState(a_trace(a_call(0, "a", (1, 640), output=10)), COST, PAGE_TOKENS)
    assert (state.num_pages, state.kept_tokens, state.expected_tokens) == (0, {0: 0}, {0: 0})


def test_an_answer_that_is_repeated_is_kept_and_one_cut_short_ends_what_is_shared() -> None:
    first, cut = (1, 100), (2, 30)
    trace = a_trace(
        a_call(0, "a", first, output=10),
        a_call(1, "a", first, (10, 8), (2, 50), output=11, step=1),
        a_call(2, "a", first, (10, 8), cut, (3, 9), output=12, step=2),
    )
    state = TraceState(trace, COST, PAGE_TOKENS)
    assert state.kept_tokens == {0: 108, 1: 138, 2: 0}
    assert state.expected_tokens == {0: 0, 1: 108, 2: 138}


def test_what_a_later_call_wants_back_is_kept_over_others_between() -> None:
    trace = a_trace(
        a_call(0, "a", (1, 128), output=10),
        a_call(1, "a", (2, 64), output=11, step=1),
        a_call(2, "a", (1, 128), output=12, step=2),
    )
    assert TraceState(trace, COST, PAGE_TOKENS).kept_tokens == {0: 128, 1: 0, 2: 0}


def test_the_largest_call_counts_its_answer_and_its_adapter() -> None:
    trace = a_trace(
        a_call(0, "a", (1, 60), output=10, adapter="x"), a_call(1, "b", (2, 100), output=11)
    )
    state = TraceState(trace, COST, PAGE_TOKENS)
    assert state.largest_pages == 2 + ADAPTER_PAGES
    assert state.largest_kv_pages == 2
    assert state.largest_adapter_pages == ADAPTER_PAGES


def test_targets_go_by_their_first_letters_and_others_are_refused() -> None:
    assert COST.adapter_pages(16, ("q_proj", "v_proj"), PAGE_TOKENS) == ADAPTER_PAGES
    with pytest.raises(ConfigError, match="the target 'gate_proj': a replay knows q, k, v, o"):
        COST.adapter_pages(16, ("gate_proj",), PAGE_TOKENS)
