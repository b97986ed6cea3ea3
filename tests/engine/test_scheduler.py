"""Events in, plans out."""

from dataclasses import replace
from typing import Any

import pytest

from motet.engine.admission import MAX_PREEMPTIONS
from motet.engine.lengths import ENOUGH, PRIOR_TOKENS
from motet.engine.messages import Aborted, Arrived, StepFinished
from motet.engine.output import FinishReason, TokenLogprobs, TokenOutput
from motet.engine.plan import PromptScores, PromptTargets, Row, SampledToken, StepPlan, StepResult
from motet.engine.policy import SCHEDULING, FirstComeFirstServed
from motet.engine.scheduler import Scheduler
from motet.engine.sequence import SequenceState
from motet.engine.step_builder import StepBuilder
from motet.errors import InvalidTransition
from motet.memory.copy import CopyEnded
from motet.memory.transition import move
from tests.engine.factories import PAGE_TOKENS, a_request, a_scheduler, a_sequence, an_adapter


def finish(scheduler: Scheduler, plan: StepPlan, token: int | None = 5) -> list[TokenOutput]:
    """Answer a plan: every copy is complete, every sampling row gets the same token, every target
    the logprob minus its token."""
    outputs: list[TokenOutput] = []
    rows = plan.batch.rows
    if rows:
        tokens = tuple(SampledToken(row.request_id, token) for row in rows if row.sampling)
        scores = tuple(scores_of(row) for row in rows if row.targets)
        result = StepResult(plan.batch.step, tokens, scores)
        outputs += scheduler.handle(StepFinished(result, 0.0))
    for copy in plan.transfers.copies:
        outputs += scheduler.handle(CopyEnded(copy.ticket, len(copy.pages)))
    scheduler.check()
    return outputs


def scores_of(row: Row) -> PromptScores:
    assert row.targets is not None
    return PromptScores(row.request_id, tuple(TokenLogprobs(-t, ()) for t in row.targets.tokens))


def step(scheduler: Scheduler, token: int | None = 5) -> tuple[StepPlan, list[TokenOutput]]:
    plan = scheduler.plan()
    return plan, finish(scheduler, plan, token)


def rows(plan: StepPlan) -> list[tuple[str, int, int]]:
    return [(row.request_id, row.start, row.end) for row in plan.batch.rows]


def ids(plan: StepPlan) -> list[str]:
    return [row.request_id for row in plan.batch.rows]


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
    first, _ = step(scheduler)
    assert [copy.digest for copy in first.transfers.copies] == [adapter.digest]
    assert rows(first) == [("b", 0, 4)]
    second, _ = step(scheduler)
    assert rows(second) == [("b", 4, 5), ("a", 0, 4)]
    (copy,) = first.transfers.copies
    assert second.batch.adapters[0].pages == tuple(pair.device for pair in copy.pages)
    assert second.batch.adapters[0].slot == second.batch.rows[1].slot


def test_an_idle_adapter_stays_until_its_pages_are_needed() -> None:
    one, two = an_adapter("one", num_pages=6), an_adapter("two", num_pages=6)
    scheduler = a_scheduler(num_pages=10, adapters=[one, two])
    loads = []
    for adapter in (one, one, two, one):
        scheduler.handle(Arrived(a_request(4, max_tokens=1, adapter=adapter), 0.0))
        while scheduler.has_work:
            loads += [copy.digest for copy in step(scheduler)[0].transfers.copies]
    assert loads == [one.digest, two.digest, one.digest]


def test_names_of_equal_content_share_pages_and_slot() -> None:
    adapter = an_adapter()
    twin = replace(adapter, name="twin")
    scheduler = a_scheduler(
        adapters=[adapter, twin],
        requests=[a_request(adapter=adapter, max_tokens=9), a_request(adapter=twin, max_tokens=9)],
    )
    loads = len(step(scheduler)[0].transfers.copies)
    plan, _ = step(scheduler)
    assert loads == 1
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


def overcommitted(policy: str = "fcfs") -> Scheduler:
    """Three sequences that expect short outputs, generate long ones and do not fit together."""
    scheduler = a_scheduler(num_pages=12, max_model_len=48, policy=SCHEDULING[policy]())
    for _ in range(40):
        scheduler.handle(Arrived(a_request(2, max_tokens=1), 0.0))
    while scheduler.has_work:
        step(scheduler)
    for name, prompt in (("oldest", 8), ("middle", 12), ("newest", 4)):
        scheduler.handle(Arrived(a_request(prompt, 32, request_id=name), 0.0))
    return scheduler


def test_preemption_takes_the_cheapest_and_never_the_oldest() -> None:
    scheduler = overcommitted()
    preempted: list[str] = []
    while not preempted:
        running = ids(step(scheduler)[0])
        preempted = [name for name in ("oldest", "middle", "newest") if name not in running]
    assert preempted == ["newest"]


@pytest.mark.parametrize("policy", SCHEDULING)
def test_every_preempted_sequence_comes_to_its_end(policy: str) -> None:
    scheduler = overcommitted(policy)
    tokens: dict[str, list[int]] = {}
    number = 0
    while scheduler.has_work:
        number += 1
        for output in step(scheduler, token=number)[1]:
            assert output.token_id is not None
            tokens.setdefault(output.request_id, []).append(output.token_id)
            assert output.index == len(tokens[output.request_id]) - 1
    assert {name: len(ids) for name, ids in tokens.items()} == dict.fromkeys(
        ("oldest", "middle", "newest"), 32
    )
    assert scheduler.stats().preemptions > 0


def test_a_preempted_sequence_goes_before_younger_ones() -> None:
    scheduler = a_scheduler(
        max_batch_rows=2, requests=[a_request(4, 9, request_id=name) for name in "abc"]
    )
    step(scheduler)
    scheduler.preempt(next(s for s in scheduler.running if s.request.request_id == "b"))
    assert ids(step(scheduler)[0]) == ["a", "b"]


def test_who_was_preempted_waits_until_it_fits_again() -> None:
    scheduler = overcommitted()
    while scheduler.stats().preemptions == 0:
        plan, _ = step(scheduler)
    assert ids(plan) == ["oldest", "middle"]
    assert [sequence.request.request_id for sequence in scheduler._queue] == ["newest"]


def test_a_row_taken_out_of_a_plan_gives_its_budget_back() -> None:
    sequence = a_sequence()
    builder = StepBuilder(budget=10)
    builder.add(sequence, 4)
    builder.discard(sequence)
    assert (builder.budget, builder.rows()) == (10, {})


def test_of_equal_work_the_younger_is_lost() -> None:
    older, younger = a_sequence(1), a_sequence(2)
    assert FirstComeFirstServed().victim([older, younger]) is younger


def test_aborted_outputs_teach_nothing_about_lengths() -> None:
    scheduler = a_scheduler()
    for number in range(ENOUGH):
        scheduler.handle(Arrived(a_request(2, 9, request_id=f"{number}"), 0.0))
        step(scheduler)
        scheduler.handle(Aborted(f"{number}"))
    assert scheduler._lengths.expected(None) == PRIOR_TOKENS


def test_a_sequence_preempted_often_runs_again_only_as_the_oldest() -> None:
    scheduler = a_scheduler(requests=[a_request(4, 9, request_id=name) for name in "ab"])
    for _ in range(MAX_PREEMPTIONS):
        step(scheduler)
        scheduler.preempt(next(s for s in scheduler.running if s.request.request_id == "b"))
    while "a" in ids(plan := step(scheduler)[0]):
        assert "b" not in ids(plan)
    assert "b" in ids(plan)


def test_an_abort_returns_everything_in_every_state() -> None:
    adapter = an_adapter()
    scheduler = a_scheduler(max_batch_rows=2, adapters=[adapter])
    names = {"loading": adapter, "running": None, "waiting": None}
    for name, used in names.items():
        scheduler.handle(Arrived(a_request(6, adapter=used, request_id=name), 0.0))
    plan = scheduler.plan()
    for name in names:
        (output,) = scheduler.handle(Aborted(name))
        assert output.finish_reason is FinishReason.ABORT
        scheduler.check()
        assert scheduler.handle(Aborted(name)) == ()
    finish(scheduler, plan)
    room = scheduler.memory.room
    assert not scheduler.has_work
    assert room.pool.num_free + room.num_idle_pages == room.pool.num_pages


def test_a_copy_that_nobody_waits_for_is_cancelled_and_keeps_its_pages_until_it_ends() -> None:
    adapter = an_adapter()
    scheduler = a_scheduler(adapters=[adapter], requests=[a_request(6, 4, adapter, "a")])
    (copy,) = scheduler.plan().transfers.copies
    scheduler.handle(Aborted("a"))
    assert scheduler.plan().transfers.cancelled == (copy.ticket,)
    assert scheduler.has_work
    assert scheduler.stats().pages_quarantined == adapter.num_pages
    scheduler.handle(CopyEnded(copy.ticket, 1))
    assert not scheduler.has_work
    assert scheduler.stats().pages_free == scheduler.memory.num_pages


def test_pages_of_an_aborted_row_are_not_reused_while_the_step_runs() -> None:
    scheduler = a_scheduler(requests=[a_request(6, request_id="a")])
    plan = scheduler.plan()
    scheduler.handle(Aborted("a"))
    assert scheduler.stats().pages_quarantined == 2
    assert scheduler.stats().num_running == 0
    finish(scheduler, plan)
    assert scheduler.stats().pages_free == scheduler.memory.num_pages


@pytest.mark.parametrize("chunk", [3, 2 * PAGE_TOKENS])
def test_a_row_without_finite_logits_fails_alone_and_leaves_no_kv(chunk: int) -> None:
    prompt = range(2 * PAGE_TOKENS)
    scheduler = a_scheduler(max_batch_tokens=chunk, requests=[a_request(prompt)])
    outputs: list[TokenOutput] = []
    while not outputs:
        _, outputs = step(scheduler, token=None)
    assert outputs[0].finish_reason is FinishReason.OVERFLOW
    assert "the model is not finite" in (outputs[0].error or "")
    assert scheduler.stats().pages_free == scheduler.memory.num_pages


# Prompts that are scored, or nothing more.


def run_to_the_end(scheduler: Scheduler) -> tuple[list[StepPlan], list[TokenOutput]]:
    plans: list[StepPlan] = []
    outputs: list[TokenOutput] = []
    while scheduler.has_work:
        plan, told = step(scheduler)
        plans.append(plan)
        outputs += told
    return plans, outputs


def logprobs(outputs: list[TokenOutput]) -> list[list[float]]:
    """Of the prompt, with each output."""
    return [[-one.logprob for one in output.prompt_logprobs] for output in outputs]


@pytest.mark.parametrize("chunk", [64, 4, 3, 1])
def test_prompt_logprobs_come_once_and_whole_with_the_first_token(chunk: int) -> None:
    request = a_request(range(10, 20), max_tokens=3, num_prompt_logprobs=0)
    _, outputs = run_to_the_end(a_scheduler(max_batch_tokens=chunk, requests=[request]))
    assert logprobs(outputs) == [[*range(11, 20)], [], []]


def test_targets_of_a_chunk_follow_its_positions() -> None:
    request = a_request(range(10, 20), max_tokens=2, num_prompt_logprobs=4)
    scheduler = a_scheduler(max_batch_tokens=6, requests=[request])
    plans, _ = run_to_the_end(scheduler)
    targets = [plan.batch.rows[0].targets for plan in plans]
    assert targets == [
        PromptTargets(1, (11, 12, 13, 14, 15, 16), 4),
        PromptTargets(7, (17, 18, 19), 4),
        None,
    ]


@pytest.mark.parametrize("prompt", [1, 2 * PAGE_TOKENS])
def test_without_max_tokens_the_prompt_is_computed_and_nothing_sampled(prompt: int) -> None:
    request = a_request(range(prompt), max_tokens=0, num_prompt_logprobs=0, stop_token_ids=(3,))
    scheduler = a_scheduler(max_batch_tokens=5, requests=[request])
    plans, outputs = run_to_the_end(scheduler)
    assert sum(len(row.tokens) for plan in plans for row in plan.batch.rows) == prompt
    assert not any(row.sampling for plan in plans for row in plan.batch.rows)
    (output,) = outputs
    assert (output.index, output.token_id) == (0, None)
    assert output.finish_reason is FinishReason.LENGTH
    assert logprobs(outputs) == [[*range(1, prompt)]]


def test_prompts_that_are_only_computed_teach_nothing_about_lengths() -> None:
    scheduler = a_scheduler(requests=[a_request(4, max_tokens=0) for _ in range(ENOUGH)])
    run_to_the_end(scheduler)
    assert scheduler._lengths.expected(None) == PRIOR_TOKENS


def test_positions_without_scores_are_not_skipped_but_shared() -> None:
    prompt = range(3 * PAGE_TOKENS + 1)
    scheduler = a_scheduler(requests=[a_request(prompt, max_tokens=1)])
    step(scheduler)
    num_pages = scheduler.stats().pages_kv
    scheduler.handle(Arrived(a_request(prompt, 1, num_prompt_logprobs=0, request_id="scored"), 0.0))
    plan, outputs = step(scheduler)
    assert rows(plan) == [("scored", 0, 3 * PAGE_TOKENS + 1)]
    assert outputs[0].num_cached_tokens == 0
    assert scheduler.stats().pages_kv == num_pages == 3
    scheduler.handle(Arrived(a_request(prompt, 1, request_id="after"), 0.0))
    assert rows(step(scheduler)[0]) == [("after", 3 * PAGE_TOKENS, 3 * PAGE_TOKENS + 1)]


@pytest.mark.parametrize("num_steps", [1, 2, 3, 4])
def test_a_preemption_neither_loses_nor_repeats_scores(num_steps: int) -> None:
    """Sealed pages are found again as far as their scores are known."""
    prompt = range(10, 10 + 4 * PAGE_TOKENS)
    request = a_request(prompt, max_tokens=3, num_prompt_logprobs=0)
    scheduler = a_scheduler(max_batch_tokens=PAGE_TOKENS, requests=[request])
    outputs = [output for _ in range(num_steps) for output in step(scheduler)[1]]
    scheduler.preempt(scheduler.running[0])
    plans, rest = run_to_the_end(scheduler)
    assert logprobs(outputs + rest) == [[*prompt[1:]], [], []]
    assert plans[0].batch.rows[0].start == num_steps * PAGE_TOKENS


def test_evicted_pages_are_computed_again_but_not_scored_again() -> None:
    prompt = range(10, 10 + 3 * PAGE_TOKENS)
    request = a_request(prompt, max_tokens=1, num_prompt_logprobs=0)
    scheduler = a_scheduler(max_batch_tokens=PAGE_TOKENS + 1, requests=[request])
    step(scheduler)
    scheduler.preempt(scheduler.running[0])
    scheduler.memory.room.evict(next(iter(scheduler.memory.room.idle())))
    plans, outputs = run_to_the_end(scheduler)
    row = plans[0].batch.rows[0]
    assert (row.start, row.end) == (0, PAGE_TOKENS + 1)
    assert row.targets is None
    assert logprobs(outputs) == [[*prompt[1:]]]


def test_a_prompt_whose_scores_are_not_finite_ends_and_leaves_no_kv() -> None:
    scheduler = a_scheduler(
        max_batch_tokens=PAGE_TOKENS,
        requests=[a_request(2 * PAGE_TOKENS, num_prompt_logprobs=0, request_id="a")],
    )
    step(scheduler)
    plan = scheduler.plan()
    tokens = tuple(SampledToken(row.request_id, 5) for row in plan.batch.rows)
    result = StepResult(plan.batch.step, tokens, (PromptScores("a", None),))
    (output,) = scheduler.handle(StepFinished(result, 0.0))
    assert output.finish_reason is FinishReason.OVERFLOW
    assert scheduler.stats().pages_free == scheduler.memory.num_pages


@pytest.mark.parametrize(
    ("penalty", "has_history"),
    [
        ({}, False),
        ({"logit_bias": ((5, 1.0),), "min_tokens": 2, "temperature": 0.0}, False),
        ({"repetition_penalty": 1.1}, True),
        ({"presence_penalty": -0.1}, True),
        ({"frequency_penalty": 0.1}, True),
    ],
)
def test_rows_that_sample_with_a_penalty_carry_all_tokens(
    penalty: dict[str, Any], has_history: bool
) -> None:
    request = a_request((1, 2, 3), max_tokens=3, **penalty)
    plans, _ = run_to_the_end(a_scheduler(max_batch_tokens=2, requests=[request]))
    histories = [plan.batch.rows[0].history for plan in plans]
    expected = [(), (1, 2, 3), (1, 2, 3, 5), (1, 2, 3, 5, 5)] if has_history else [()] * 4
    assert histories == expected


# Refusals.


@pytest.mark.parametrize(
    ("prompt", "max_tokens", "says"),
    [
        (250, 7, "1 more than the context of 256"),
        (0, 1, "at least one prompt token"),
        (4, -1, "max_tokens of at least 0, this one has 4 and -1"),
        (40, 16, "need 16 pages, the pool has 15"),
    ],
)
def test_what_can_never_fit_is_refused_with_numbers(
    prompt: int, max_tokens: int, says: str
) -> None:
    adapter = an_adapter(num_pages=2)
    scheduler = a_scheduler(num_pages=15, adapters=[adapter])
    (output,) = scheduler.handle(Arrived(a_request(prompt, max_tokens, adapter), 0.0))
    assert output.finish_reason is FinishReason.REFUSED
    assert says in (output.error or "")
    assert not scheduler.has_work


def test_what_just_fits_is_served() -> None:
    adapter = an_adapter(num_pages=2)
    scheduler = a_scheduler(num_pages=15, adapters=[adapter])
    scheduler.handle(Arrived(a_request(40, 12, adapter), 0.0))
    outputs: list[TokenOutput] = []
    while scheduler.has_work:
        outputs += step(scheduler)[1]
    assert outputs[-1].index == 11


def test_an_unregistered_adapter_is_refused_by_name() -> None:
    scheduler = a_scheduler()
    (output,) = scheduler.handle(Arrived(a_request(adapter=an_adapter("ghost")), 0.0))
    assert "'ghost'" in (output.error or "")


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
    scheduler.memory.adapters.register(an_adapter())
    scheduler.check()
