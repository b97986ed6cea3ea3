"""Events in, plans out."""

from dataclasses import replace

import pytest

from motet.engine.messages import Arrived, Call, RegisterAdapter
from motet.engine.output import FinishReason, TokenOutput
from motet.engine.plan import StepPlan
from motet.engine.sequence import SequenceState
from motet.errors import InvalidTransition
from motet.memory.agent import AgentCall, AgentKey
from motet.memory.transition import move
from tests.engine.factories import PAGE_TOKENS, a_request, a_scheduler, an_adapter
from tests.engine.stepping import finish, ids, loads, rows, run_to_the_end, step


def test_a_prompt_is_computed_whole_then_token_by_token() -> None:
    scheduler = a_scheduler(requests=[a_request(6, max_tokens=3, request_id="a")])
    plans = [step(scheduler) for _ in range(3)]
    assert [rows(plan) for plan, _ in plans] == [[("a", 0, 6)], [("a", 6, 7)], [("a", 7, 8)]]
    assert [outputs[0].index for _, outputs in plans] == [0, 1, 2]
    assert plans[-1][1][0].finish_reason is FinishReason.LENGTH
    assert not scheduler.has_work


def test_a_long_prompt_is_cut_into_chunks_beside_decodes() -> None:
    scheduler = a_scheduler(max_batch_tokens=8, requests=[a_request(4, 9, request_id="a")])
    step(scheduler)
    scheduler.handle(Arrived(a_request(20, request_id="b"), 0.0))
    plans = [step(scheduler)[0] for _ in range(3)]
    assert [rows(plan) for plan in plans] == [
        [("a", 4, 5), ("b", 0, 7)],
        [("a", 5, 6), ("b", 7, 14)],
        [("a", 6, 7), ("b", 14, 20)],
    ]
    assert [plan.batch.rows[1].sampling is None for plan in plans] == [True, True, False]


def test_a_stop_token_ends_the_sequence() -> None:
    scheduler = a_scheduler(requests=[a_request(stop_token_ids=(7,))])
    _, outputs = step(scheduler, token=7)
    assert outputs[0].finish_reason is FinishReason.STOP
    assert outputs[0].token_id == 7


def test_a_second_request_reuses_the_full_pages_of_the_first() -> None:
    prompt = range(3 * PAGE_TOKENS)
    scheduler = a_scheduler(requests=[a_request(prompt, max_tokens=1)])
    step(scheduler)
    scheduler.handle(Arrived(a_request(prompt, max_tokens=1, request_id="again"), 0.0))
    plan, outputs = step(scheduler)
    # The last token is always computed: its logits choose the next one.
    assert rows(plan) == [("again", 2 * PAGE_TOKENS, 3 * PAGE_TOKENS)]
    assert outputs[0].num_cached_tokens == 2 * PAGE_TOKENS


@pytest.mark.parametrize("other", ["adapter", "salt"])
def test_nothing_is_reused_across_adapters_or_salts(other: str) -> None:
    prompt, adapter = range(3 * PAGE_TOKENS), an_adapter()
    scheduler = a_scheduler(adapters=[adapter], requests=[a_request(prompt, max_tokens=1)])
    step(scheduler)
    request = a_request(prompt, max_tokens=1)
    changed = {
        "adapter": replace(request, adapter=adapter),
        "salt": replace(request, cache_salt="tenant"),
    }
    scheduler.handle(Arrived(changed[other], 0.0))
    outputs: list[TokenOutput] = []
    while not outputs:
        outputs = step(scheduler)[1]
    assert outputs[0].num_cached_tokens == 0


def test_a_request_waits_for_its_adapter_while_others_run() -> None:
    adapter = an_adapter(num_pages=3)
    scheduler = a_scheduler(
        adapters=[adapter],
        requests=[a_request(4, request_id="a", adapter=adapter), a_request(4, request_id="b")],
    )
    first = scheduler.plan()
    assert loads(scheduler, first) == [adapter.digest]
    finish(scheduler, first)
    assert rows(first) == [("b", 0, 4)]
    second, _ = step(scheduler)
    assert rows(second) == [("b", 4, 5), ("a", 0, 4)]
    (copy,) = first.transfers.copies
    assert second.batch.adapters[0].pages == tuple(pair.device for pair in copy.pages)
    assert second.batch.adapters[0].slot == second.batch.rows[1].slot


def test_an_idle_adapter_stays_until_its_pages_are_needed() -> None:
    one, two = an_adapter("one", num_pages=6), an_adapter("two", num_pages=6)
    scheduler = a_scheduler(num_pages=10, adapters=[one, two])
    loaded = []
    for adapter in (one, one, two, one):
        scheduler.handle(Arrived(a_request(4, max_tokens=1, adapter=adapter), 0.0))
        while scheduler.has_work:
            plan = scheduler.plan()
            loaded += loads(scheduler, plan)
            finish(scheduler, plan)
    assert loaded == [one.digest, two.digest, one.digest]


def test_names_of_equal_content_share_pages_and_slot() -> None:
    adapter = an_adapter()
    twin = replace(adapter, name="twin")
    scheduler = a_scheduler(
        adapters=[adapter, twin],
        requests=[a_request(adapter=adapter, max_tokens=9), a_request(adapter=twin, max_tokens=9)],
    )
    num_loads = len(step(scheduler)[0].transfers.copies)
    plan, _ = step(scheduler)
    assert num_loads == 1
    assert len({row.slot for row in plan.batch.rows}) == len(plan.batch.adapters) == 1


def test_a_request_without_a_slot_holds_up_no_base_rows() -> None:
    adapters = [an_adapter(name, num_pages=1) for name in "ab"]
    scheduler = a_scheduler(
        max_batch_adapters=1,
        adapters=adapters,
        requests=[
            a_request(4, 9, adapters[0], "first"),
            a_request(4, 9, adapters[1], "without a slot"),
            a_request(4, 9, adapters[0], "behind it"),
            a_request(4, 9, request_id="base"),
        ],
    )
    step(scheduler)
    assert ids(step(scheduler)[0]) == ["base", "first"]


def test_waiting_for_a_slot_is_no_use_of_a_prefix() -> None:
    adapters = [an_adapter(name, num_pages=1) for name in "ab"]
    scheduler = a_scheduler(max_batch_adapters=1, adapters=adapters)
    for adapter, max_tokens in ((adapters[1], 1), (adapters[0], 20), (adapters[1], 1)):
        scheduler.handle(Arrived(a_request(range(9), max_tokens, adapter), 0.0))
        step(scheduler)
        step(scheduler)
    order = list(scheduler.memory.room.idle())
    step(scheduler)
    assert list(scheduler.memory.room.idle()) == order


def test_distinct_adapters_are_capped_and_base_rows_are_free() -> None:
    adapters = [an_adapter(f"a{i}", num_pages=1) for i in range(3)]
    requests = [a_request(4, max_tokens=9, adapter=adapter) for adapter in adapters[:2]]
    scheduler = a_scheduler(
        max_batch_adapters=2,
        adapters=adapters,
        requests=[*requests, a_request(4), a_request(4, adapter=adapters[2])],
    )
    step(scheduler)
    plan, _ = step(scheduler)
    assert len(plan.batch.adapters) == 2
    assert [row.slot for row in plan.batch.rows].count(-1) == 1
    while scheduler.has_work:
        assert len(step(scheduler)[0].batch.adapters) <= 2


def test_admission_counts_the_future_of_all() -> None:
    # Each needs 2 pages now and 6 in the end: together they peak at 12 of 8 pages.
    requests = [a_request(8, max_tokens=16, request_id=name) for name in "ab"]
    scheduler = a_scheduler(num_pages=8, requests=requests)
    assert rows(step(scheduler)[0]) == [("a", 0, 8)]
    while "b" not in ids(plan := step(scheduler)[0]):
        assert len(plan.batch.rows) == 1
    assert scheduler.stats().preemptions == 0


@pytest.mark.parametrize(("osl", "num_rows"), [(4, 2), (16, 1), (None, 1)])
def test_admission_counts_on_what_agents_say_of_their_answers(
    osl: int | None, num_rows: int
) -> None:
    calls = [AgentCall(AgentKey("", name), expected_tokens=osl) for name in "ab"]
    requests = [a_request(8, max_tokens=16, agent=call) for call in calls]
    scheduler = a_scheduler(num_pages=8, requests=requests)
    assert len(step(scheduler)[0].batch.rows) == num_rows
    _, outputs = run_to_the_end(scheduler)  # who has said too little gets all of it
    assert len(outputs) == 2 * 16 - num_rows


def test_admission_counts_the_adapter_with_the_kv() -> None:
    adapters = [an_adapter(name, num_pages=4) for name in "ab"]
    requests = [a_request(4, max_tokens=4, adapter=adapter) for adapter in adapters]
    scheduler = a_scheduler(num_pages=10, adapters=adapters, requests=requests)
    while scheduler.has_work:
        plan, _ = step(scheduler)
        assert len(plan.batch.rows) <= 1  # 2 x (2 KV + 4) does not fit in 10
    stats = scheduler.stats()
    assert (stats.preemptions, stats.adapter_loads) == (0, 2)


def test_admission_counts_what_is_idle_now_and_used_then() -> None:
    adapter, prompt = an_adapter(num_pages=6), range(9)
    # 3 pages of KV, 2 of them of the prefix, and 6 of the adapter: 9 of 10, beside 2 of a base row.
    scheduler = a_scheduler(num_pages=10, adapters=[adapter])
    scheduler.handle(Arrived(a_request(prompt, 3, adapter), 0.0))
    while scheduler.has_work:
        step(scheduler)
    assert scheduler.memory.room.num_idle_pages == 8
    scheduler.handle(Arrived(a_request(4, 4, request_id="base"), 0.0))
    step(scheduler)
    scheduler.handle(Arrived(a_request(prompt, 3, adapter, "later"), 0.0))
    step(scheduler)
    assert scheduler.stats().num_waiting == 1


def test_pages_and_adapters_are_evicted_in_one_order_of_last_use() -> None:
    old, new = an_adapter("old", num_pages=4), an_adapter("new", num_pages=4)
    scheduler = a_scheduler(num_pages=14, adapters=[old, new])
    for adapter in (old, None, new):  # each leaves 1 page of KV, and its adapter
        scheduler.handle(Arrived(a_request(5, 1, adapter), 0.0))
        while scheduler.has_work:
            step(scheduler)
    order = [(type(state).__name__, state.num_pages) for state in scheduler.memory.room.idle()]
    kv, adapter_pages = ("PrefixNode", 1), ("AdapterState", 4)
    assert order == [kv, adapter_pages, kv, kv, adapter_pages]
    stats = scheduler.stats()
    assert (stats.kv_page_evictions, stats.adapter_page_evictions) == (0, 0)
    scheduler.handle(Arrived(a_request(18, 1), 0.0))
    step(scheduler)
    stats = scheduler.stats()
    assert (stats.kv_page_evictions, stats.adapter_page_evictions) == (1, 4)


def test_what_just_fits_is_served() -> None:
    adapter = an_adapter(num_pages=2)
    scheduler = a_scheduler(num_pages=15, adapters=[adapter])
    scheduler.handle(Arrived(a_request(40, 12, adapter), 0.0))
    outputs: list[TokenOutput] = []
    while scheduler.has_work:
        outputs += step(scheduler)[1]
    assert outputs[-1].index == 11


def test_the_same_events_give_the_same_plans() -> None:
    def run() -> list[StepPlan]:
        adapters = [an_adapter(f"a{i}") for i in range(3)]
        requests = [
            a_request(range(i, i + 7), 9, adapters[i % 3], f"r{i}", stop_token_ids=(i,))
            for i in range(9)
        ]
        scheduler = a_scheduler(num_pages=20, adapters=adapters, requests=requests)
        plans = []
        while scheduler.has_work:
            plans.append(step(scheduler)[0])
        return plans

    assert run() == run()


def test_an_illegal_move_raises_with_the_story() -> None:
    scheduler = a_scheduler(requests=[a_request(request_id="a")])
    step(scheduler)
    (sequence,) = scheduler.running
    with pytest.raises(InvalidTransition, match="sequence a: waiting -> running -> running"):
        move(sequence, SequenceState.RUNNING)


def test_registering_twice_is_harmless() -> None:
    scheduler = a_scheduler(adapters=[an_adapter()])
    scheduler.commands.handle(Call(1, RegisterAdapter(an_adapter())))
    (reply,) = scheduler.commands.take_replies()
    assert [status.adapter for status in reply.adapters] == [an_adapter()]
    assert len(scheduler.memory.registry) == 1
    scheduler.check()
