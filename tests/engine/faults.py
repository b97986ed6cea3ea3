"""Bugs to plant: each breaks one promise of the engine, and the oracle must see it.

A fault takes a scheduler, its executor and a source of chance, and sabotages one of the first two
for the rest of the run.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from msgspec import structs

from motet.engine.fake import NO_ADAPTER, FakeExecutor
from motet.engine.output import TokenLogprobs
from motet.engine.plan import BASE_SLOT, AdapterBinding, Row, StepPlan, StepResult
from motet.engine.scheduler import Scheduler
from motet.engine.sequence import Sequence
from motet.memory.page import PageId
from motet.memory.prefix import Namespace, PrefixNode
from tests.engine.factories import PAGE_TOKENS

RARELY = 0.02


def pages_in_the_wrong_order(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    def swap(row: Row) -> Row:
        if row.start < PAGE_TOKENS or rng.random() > RARELY:
            return row
        first, second, *rest = row.pages
        return structs.replace(row, pages=(second, first, *rest))

    _change_rows(executor, swap)


def a_page_of_another_sequence(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    def exchange(row: Row) -> Row:
        if row.start < PAGE_TOKENS or rng.random() > RARELY:
            return row
        return structs.replace(
            row, pages=(PageId(rng.randrange(len(executor.pages))), *row.pages[1:])
        )

    _change_rows(executor, exchange)


def a_lost_write(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    write = executor.write

    def lose(pages: tuple[PageId, ...], position: int, value: int) -> None:
        if rng.random() > RARELY:
            write(pages, position, value)

    _patch(executor, "write", lose)


def a_write_repeated_too_late(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    write = executor.write
    written: list[tuple[tuple[PageId, ...], int, int]] = []

    def repeat(pages: tuple[PageId, ...], position: int, value: int) -> None:
        write(pages, position, value)
        written.append((pages, position, value))
        if rng.random() < RARELY:
            write(*rng.choice(written[-200:]))

    _patch(executor, "write", repeat)


def a_lost_load(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    def lose(plan: StepPlan) -> StepPlan:
        loads = tuple(replace(load, pages=()) for load in plan.transfers)
        return replace(plan, transfers=loads)

    _change_plans(executor, lose)


def tiles_in_the_wrong_pages(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    def reverse(plan: StepPlan) -> StepPlan:
        loads = tuple(replace(load, pages=load.pages[::-1]) for load in plan.transfers)
        return replace(plan, transfers=loads)

    _change_plans(executor, reverse)


def a_stale_binding_of_a_slot(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    read = executor.read_adapter
    bound: dict[int, AdapterBinding] = {}

    def read_first(binding: AdapterBinding) -> int:
        return read(bound.setdefault(binding.slot, binding))

    _patch(executor, "read_adapter", read_first)


def the_adapter_of_a_neighbour(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    def shift(plan: StepPlan) -> StepPlan:
        slots = sorted(binding.slot for binding in plan.batch.adapters)
        if len(slots) < 2 or rng.random() > RARELY:
            return plan
        to = dict(zip(slots, slots[1:] + slots[:1], strict=True)) | {BASE_SLOT: BASE_SLOT}
        rows = tuple(structs.replace(row, slot=to[row.slot]) for row in plan.batch.rows)
        return replace(plan, batch=replace(plan.batch, rows=rows))

    _change_plans(executor, shift)


def an_adapter_row_on_the_base(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    def forget(row: Row) -> Row:
        return structs.replace(row, slot=BASE_SLOT) if rng.random() < RARELY else row

    _change_rows(executor, forget)


def a_base_row_on_an_adapter(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    run = executor._run

    def misread(row: Row, checksum: int) -> Any:
        is_base = checksum == NO_ADAPTER
        return run(row, 1 if is_base and rng.random() < RARELY else checksum)

    _patch(executor, "_run", misread)


def kv_shared_across_adapters(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    _patch(scheduler.memory, "namespace", lambda adapter, salt: Namespace("base", None, salt))


def a_match_without_its_chain(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    index = scheduler.memory._index
    match = index.match

    def match_end(namespace: Namespace, tokens: list[int], num_tokens: int) -> list[PrefixNode]:
        """Pages with the right tokens in the right place, whatever stands before them."""
        chain = match(namespace, tokens, num_tokens)
        if chain or num_tokens < 2 * PAGE_TOKENS:
            return chain
        second = tuple(tokens[PAGE_TOKENS : 2 * PAGE_TOKENS])
        found = [n for n in index if n.namespace == namespace and n.parent and n.tokens == second]
        return [part for node in found[:1] for part in (node.parent, node) if part]

    _patch(index, "match", match_end)


def a_match_of_other_tokens(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    index = scheduler.memory._index

    def match(namespace: Namespace, tokens: list[int], num_tokens: int) -> list[PrefixNode]:
        roots = [n for n in index if n.namespace == namespace and n.parent is None]
        return roots[:1] if num_tokens >= PAGE_TOKENS else []

    _patch(index, "match", match)


def a_page_sealed_before_it_is_full(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    seal, plan = scheduler.memory.seal, scheduler.plan

    def seal_all(table: Any, tokens: list[int], num_computed: int) -> None:
        seal(table, tokens, min(len(tokens), len(table.pages) * PAGE_TOKENS))

    def plan_after_preempting_prefills(now: float) -> StepPlan:
        """No fault in itself: it leaves half-computed pages to others."""
        for sequence in scheduler.running:
            if sequence.num_pending > 1 and rng.random() < 0.5:
                scheduler.preempt(sequence)
        return plan(now)

    _patch(scheduler.memory, "seal", seal_all)
    _patch(scheduler, "plan", plan_after_preempting_prefills)


def a_page_freed_while_it_is_read(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    def free(plan: StepPlan) -> StepPlan:
        in_use = [node for node in scheduler.memory._index if node.references]
        if in_use and rng.random() < RARELY:
            lease = rng.choice(in_use).lease
            if not lease.is_released:
                scheduler.memory.pool.release(lease)
        return plan

    _change_plans(executor, free)


def an_adapter_freed_while_it_is_used(
    scheduler: Scheduler, executor: FakeExecutor, rng: Any
) -> None:
    def free(plan: StepPlan) -> StepPlan:
        for binding in plan.batch.adapters[:1]:
            adapter = scheduler.memory.adapter(binding.digest)
            assert adapter is not None and adapter.lease is not None
            if not adapter.lease.is_released:
                scheduler.memory.pool.release(adapter.lease)
        return plan

    _change_plans(executor, free)


def a_preempted_sequence_that_skips_its_recompute(
    scheduler: Scheduler, executor: FakeExecutor, rng: Any
) -> None:
    def skip(row: Row) -> Row:
        if row.start or not row.num_generated or len(row.tokens) < 2:
            return row
        return structs.replace(row, start=1, tokens=row.tokens[1:])

    _change_rows(executor, skip)


def a_history_without_its_last_token(
    scheduler: Scheduler, executor: FakeExecutor, rng: Any
) -> None:
    def shorten(row: Row) -> Row:
        return structs.replace(row, history=row.history[:-1]) if rng.random() < RARELY else row

    _change_rows(executor, shorten)


def a_score_read_one_position_too_early(
    scheduler: Scheduler, executor: FakeExecutor, rng: Any
) -> None:
    def shift(row: Row) -> Row:
        if row.targets is None or rng.random() > RARELY:
            return row
        return structs.replace(row, targets=replace(row.targets, start=row.targets.start - 1))

    _change_rows(executor, shift)


def scores_lost_in_a_preemption(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    preempt = scheduler.preempt

    def forget(sequence: Sequence) -> None:
        """The positions are taken for scored, but nobody has kept the last score."""
        if sequence.prompt_logprobs:
            sequence.prompt_logprobs[-1] = TokenLogprobs(0.0, ())
        preempt(sequence)

    _patch(scheduler, "preempt", forget)


def scores_kept_twice(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    execute = executor.execute

    def repeat(plan: StepPlan) -> StepResult:
        result = execute(plan)
        if rng.random() > RARELY:
            return result
        scores = tuple(replace(s, logprobs=(s.logprobs or ()) * 2) for s in result.scores)
        return replace(result, scores=scores)

    _patch(executor, "execute", repeat)


Fault = Callable[[Scheduler, FakeExecutor, random.Random], None]

FAULTS: tuple[Fault, ...] = (
    pages_in_the_wrong_order,
    a_page_of_another_sequence,
    a_lost_write,
    a_write_repeated_too_late,
    a_lost_load,
    tiles_in_the_wrong_pages,
    a_stale_binding_of_a_slot,
    the_adapter_of_a_neighbour,
    an_adapter_row_on_the_base,
    a_base_row_on_an_adapter,
    kv_shared_across_adapters,
    a_match_without_its_chain,
    a_match_of_other_tokens,
    a_page_sealed_before_it_is_full,
    a_page_freed_while_it_is_read,
    an_adapter_freed_while_it_is_used,
    a_preempted_sequence_that_skips_its_recompute,
    a_history_without_its_last_token,
    a_score_read_one_position_too_early,
    scores_lost_in_a_preemption,
    scores_kept_twice,
)


def _patch(target: object, name: str, replacement: Callable[..., Any]) -> None:
    setattr(target, name, replacement)


def _change_plans(executor: FakeExecutor, change: Callable[[StepPlan], StepPlan]) -> None:
    execute = executor.execute

    def execute_changed(plan: StepPlan) -> StepResult:
        return execute(change(plan))

    _patch(executor, "execute", execute_changed)


def _change_rows(executor: FakeExecutor, change: Callable[[Row], Row]) -> None:
    def change_all(plan: StepPlan) -> StepPlan:
        rows = tuple(change(row) for row in plan.batch.rows)
        return replace(plan, batch=replace(plan.batch, rows=rows))

    _change_plans(executor, change_all)
