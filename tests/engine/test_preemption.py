"""Who gives way, who comes back, and what an abort leaves."""

import pytest

from motet.engine.admission import MAX_PREEMPTIONS
from motet.engine.lengths import ENOUGH, PRIOR_TOKENS
from motet.engine.messages import Aborted, Arrived
from motet.engine.output import FinishReason, TokenOutput
from motet.engine.policy import SCHEDULING, FirstComeFirstServed
from motet.engine.scheduler import Scheduler
from motet.engine.step_builder import StepBuilder
from motet.memory.adapter import Adapter
from motet.memory.copy import CopyEnded
from tests.engine.factories import PAGE_TOKENS, a_request, a_scheduler, a_sequence, an_adapter
from tests.engine.stepping import finish, ids, loads, step


def expecting_short_outputs(policy: str = "fcfs", adapters: tuple[Adapter, ...] = ()) -> Scheduler:
    """Of 12 pages, after many requests for one token."""
    scheduler = a_scheduler(
        num_pages=12, max_model_len=48, adapters=adapters, policy=SCHEDULING[policy]()
    )
    for _ in range(40):
        scheduler.handle(Arrived(a_request(2, max_tokens=1), 0.0))
    while scheduler.has_work:
        step(scheduler)
    return scheduler


def overcommitted(policy: str = "fcfs") -> Scheduler:
    """Three sequences that expect short outputs, generate long ones and do not fit together."""
    scheduler = expecting_short_outputs(policy)
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


def test_who_runs_alone_makes_way_for_one_before_it_whose_adapter_has_come() -> None:
    adapter = an_adapter(num_pages=4)
    scheduler = expecting_short_outputs(adapters=(adapter,))
    scheduler.handle(Arrived(a_request(28, 4, adapter, "first"), 0.0))
    scheduler.handle(Arrived(a_request(4, 40, request_id="second"), 0.0))
    ends: list[str] = []
    while scheduler.has_work:
        assert scheduler.wait_s(0.0) == 0.0
        ends += [o.request_id for o in step(scheduler)[1] if o.finish_reason is FinishReason.LENGTH]
    assert ends == ["first", "second"]
    assert scheduler.stats().preemptions == 1


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


def test_a_copy_that_nobody_waits_for_goes_on_as_long_as_it_is_in_nobody_s_way() -> None:
    """Otherwise clients that give up sooner than a load takes would never get their adapter."""
    adapter, other = an_adapter(num_pages=6), an_adapter("other", num_pages=6)
    request = a_request(6, 4, adapter, "a")
    scheduler = a_scheduler(num_pages=11, adapters=[adapter, other], requests=[request])
    (copy,) = scheduler.plan().transfers.copies
    scheduler.handle(Aborted("a"))
    assert not scheduler.plan().transfers.cancelled and scheduler.has_work
    scheduler.handle(Arrived(a_request(6, 4, other, "b"), 0.0))
    assert scheduler.plan().transfers.cancelled == (copy.ticket,)
    assert scheduler.stats().pages_quarantined == adapter.num_pages
    scheduler.handle(CopyEnded(copy.ticket, 1))
    assert scheduler.stats().pages_free == scheduler.memory.num_pages
    assert loads(scheduler, scheduler.plan()) == [other.digest]


def test_an_adapter_whose_users_have_gone_before_it_came_stays() -> None:
    adapter = an_adapter()
    scheduler = a_scheduler(adapters=[adapter], requests=[a_request(6, 4, adapter, "a")])
    (copy,) = scheduler.plan().transfers.copies
    scheduler.handle(Aborted("a"))
    scheduler.handle(CopyEnded(copy.ticket, adapter.num_pages))
    assert not scheduler.has_work
    assert scheduler.stats().idle_pages_adapter == adapter.num_pages


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
