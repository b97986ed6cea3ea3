"""Prompts that are scored, or nothing more."""

from typing import Any

import pytest

from motet.engine.lengths import ENOUGH, PRIOR_TOKENS
from motet.engine.messages import Arrived, StepFinished
from motet.engine.output import FinishReason
from motet.engine.plan import PromptScores, PromptTargets, SampledToken, StepResult
from tests.engine.factories import PAGE_TOKENS, a_request, a_scheduler
from tests.engine.stepping import logprobs, rows, run_to_the_end, step


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
