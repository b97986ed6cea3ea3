"""Bugs to plant: each breaks one promise of the engine, and the oracle must see it.

A fault takes a scheduler, its executor and a source of chance, and sabotages one of the first two
for the rest of the run.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from msgspec import structs

from motet.engine.fake.executor import FakeExecutor
from motet.engine.fake.link import Ended
from motet.engine.fake.token_hash import NO_ADAPTER
from motet.engine.output import TokenLogprobs
from motet.engine.plan import BASE_SLOT, AdapterBinding, Batch, Row, StepPlan, StepResult
from motet.engine.scheduler import Scheduler
from motet.engine.sequence import Sequence
from motet.memory.copies import UnderWay
from motet.memory.copy import Copy, CopyEnded, Direction, PagePair, Read, ReadEnded, Transfers
from motet.memory.manager import Changes
from motet.memory.page import Lease, PageId
from motet.memory.prefix import Chain, Namespace
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
    write = executor.write_kv

    def lose(pages: tuple[PageId, ...], position: int, value: int) -> None:
        if rng.random() > RARELY:
            write(pages, position, value)

    _patch(executor, "write_kv", lose)


def a_write_repeated_too_late(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    write = executor.write_kv
    written: list[tuple[tuple[PageId, ...], int, int]] = []

    def repeat(pages: tuple[PageId, ...], position: int, value: int) -> None:
        write(pages, position, value)
        written.append((pages, position, value))
        if rng.random() < RARELY:
            write(*rng.choice(written[-200:]))

    _patch(executor, "write_kv", repeat)


def a_load_that_brings_nothing(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    _bring_nothing(executor, Direction.TO_DEVICE)


def a_write_back_that_brings_nothing(
    scheduler: Scheduler, executor: FakeExecutor, rng: Any
) -> None:
    _bring_nothing(executor, Direction.TO_HOST)


def a_read_that_brings_nothing(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    write = executor.write

    def tell(ended: Ended) -> CopyEnded | ReadEnded:
        pages = [list(page) for page in executor.host_pages]
        event = write(ended)
        if isinstance(ended.work, Read):
            executor.host_pages[:] = pages
        return event

    _patch(executor, "write", tell)


def a_file_that_changed_and_runs(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    """What is read is taken for what was asked for."""
    write = executor.write

    def believe(ended: Ended) -> CopyEnded | ReadEnded:
        work = ended.work
        if not isinstance(work, Read) or work.digest is None:
            return write(ended)
        event = write(replace(ended, work=structs.replace(work, digest=None)))
        assert isinstance(event, ReadEnded)
        if event.content is None:
            return event
        return structs.replace(event, content=structs.replace(event.content, digest=work.digest))

    _patch(executor, "write", believe)


def tiles_in_the_wrong_pages(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    def reverse(copy: Copy) -> Copy:
        to = [pair.device for pair in copy.pages[::-1]]
        pages = [PagePair(pair.host, page) for pair, page in zip(copy.pages, to, strict=True)]
        return structs.replace(copy, pages=tuple(pages))

    _change_copies(executor, reverse)


def the_image_of_another_object(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    def exchange(copy: Copy) -> Copy:
        if copy.direction is Direction.TO_HOST or rng.random() > RARELY:
            return copy
        others = rng.choices(range(len(executor.host_pages)), k=len(copy.pages))
        pages = [PagePair(PageId(o), p.device) for o, p in zip(others, copy.pages, strict=True)]
        return structs.replace(copy, pages=tuple(pages))

    _change_copies(executor, exchange)


def a_host_page_freed_while_it_is_needed(
    scheduler: Scheduler, executor: FakeExecutor, rng: Any
) -> None:
    def free(batch: Batch) -> Batch:
        """Its object goes on taking it for clean."""
        states = [*scheduler.memory.kv.states(), *scheduler.memory.adapters.states()]
        copies = [state.host for state in states if state.host and state.host.is_idle]
        lease = rng.choice(copies).lease if copies and rng.random() < 0.2 else None
        if lease and not lease.is_released:
            scheduler.memory.host.pool.release(lease)
        return batch

    _release_only_once(scheduler)
    _change_batches(executor, free)


def a_copy_taken_for_complete_too_early(
    scheduler: Scheduler, executor: FakeExecutor, rng: Any
) -> None:
    def tell(copy: Copy) -> Copy:
        executor.inbox.put(CopyEnded(copy.ticket, len(copy.pages)))
        return copy

    _change_copies(executor, tell)


def a_failed_copy_taken_for_complete(
    scheduler: Scheduler, executor: FakeExecutor, rng: Any
) -> None:
    ended, copies = scheduler.memory.ended, scheduler.memory.copies

    def forgive(event: CopyEnded | ReadEnded) -> Changes:
        copy = copies._under_way.get(event.ticket)
        if isinstance(event, ReadEnded) or copy is None:
            return ended(event)
        return ended(CopyEnded(event.ticket, len(copy.work.pages)))

    _patch(scheduler.memory, "ended", forgive)


def pages_reused_before_a_copy_has_stopped(
    scheduler: Scheduler, executor: FakeExecutor, rng: Any
) -> None:
    copies = scheduler.memory.copies
    give_up = copies.give_up

    def forget(copy: UnderWay) -> None:
        give_up(copy)
        for lease in copy.leases:
            copy.room.give_back(lease)
        del copies._under_way[copy.work.ticket]

    _patch(copies, "give_up", forget)


def an_end_taken_for_that_of_another_copy(
    scheduler: Scheduler, executor: FakeExecutor, rng: Any
) -> None:
    ended, copies = scheduler.memory.ended, scheduler.memory.copies

    def confuse(event: CopyEnded | ReadEnded) -> Changes:
        """As where a copy has no name that is its own for ever."""
        waited_for = (c for c in copies if not c.is_given_up and isinstance(c.work, Copy))
        if event.ticket not in copies._under_way and (copy := next(waited_for, None)):
            return ended(CopyEnded(copy.work.ticket, len(copy.work.pages)))
        return ended(event)

    _patch(scheduler.memory, "ended", confuse)


def a_stale_binding_of_a_slot(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    read = executor.read_adapter
    bound: dict[int, AdapterBinding] = {}

    def read_first(binding: AdapterBinding) -> int:
        return read(bound.setdefault(binding.slot, binding))

    _patch(executor, "read_adapter", read_first)


def the_adapter_of_a_neighbour(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    def shift(batch: Batch) -> Batch:
        slots = sorted(binding.slot for binding in batch.adapters)
        if len(slots) < 2 or rng.random() > RARELY:
            return batch
        to = dict(zip(slots, slots[1:] + slots[:1], strict=True)) | {BASE_SLOT: BASE_SLOT}
        rows = tuple(structs.replace(row, slot=to[row.slot]) for row in batch.rows)
        return replace(batch, rows=rows)

    _change_batches(executor, shift)


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
    index = scheduler.memory.kv._index
    match = index.match

    def match_end(chain: Chain, namespace: Namespace, tokens: list[int], num_tokens: int) -> None:
        """Pages with the right tokens in the right place, whatever stands before them."""
        match(chain, namespace, tokens, num_tokens)
        if chain or num_tokens < 2 * PAGE_TOKENS:
            return
        second = tuple(tokens[PAGE_TOKENS : 2 * PAGE_TOKENS])
        found = [n for n in index if n.namespace == namespace and n.parent and n.tokens == second]
        chain += [part for node in found[:1] for part in (node.parent, node) if part]

    _patch(index, "match", match_end)


def a_match_of_other_tokens(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    index = scheduler.memory.kv._index

    def match(chain: Chain, namespace: Namespace, tokens: list[int], num_tokens: int) -> None:
        roots = [n for n in index if n.namespace == namespace and n.parent is None]
        chain[:] = roots[:1] if num_tokens >= PAGE_TOKENS else []

    _patch(index, "match", match)


def a_page_sealed_before_it_is_full(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    seal, plan = scheduler.memory.kv.seal, scheduler.plan

    def seal_all(table: Any, tokens: list[int], num_computed: int) -> None:
        seal(table, tokens, min(len(tokens), len(table.pages) * PAGE_TOKENS))

    def plan_after_preempting_prefills() -> StepPlan:
        """No fault in itself: it leaves half-computed pages to others."""
        for sequence in scheduler.running:
            if sequence.num_pending > 1 and rng.random() < 0.5:
                scheduler.preempt(sequence)
        return plan()

    _patch(scheduler.memory.kv, "seal", seal_all)
    _patch(scheduler, "plan", plan_after_preempting_prefills)


def a_page_freed_while_it_is_read(scheduler: Scheduler, executor: FakeExecutor, rng: Any) -> None:
    def free(batch: Batch) -> Batch:
        in_use = [node for node in scheduler.memory.kv._index if node.references]
        if in_use and rng.random() < RARELY:
            lease = rng.choice(in_use).lease
            if not lease.is_released:
                scheduler.memory.room.pool.release(lease)
        return batch

    _release_only_once(scheduler)

    _change_batches(executor, free)


def an_adapter_freed_while_it_is_used(
    scheduler: Scheduler, executor: FakeExecutor, rng: Any
) -> None:
    def free(batch: Batch) -> Batch:
        for binding in batch.adapters[:1]:
            adapter = scheduler.memory.adapters.with_digest(binding.digest)
            assert adapter is not None and adapter.lease is not None
            if not adapter.lease.is_released:
                scheduler.memory.room.pool.release(adapter.lease)
        return batch

    _release_only_once(scheduler)

    _change_batches(executor, free)


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

    def repeat(batch: Batch) -> StepResult:
        result = execute(batch)
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
    a_load_that_brings_nothing,
    a_write_back_that_brings_nothing,
    a_read_that_brings_nothing,
    a_file_that_changed_and_runs,
    tiles_in_the_wrong_pages,
    the_image_of_another_object,
    a_host_page_freed_while_it_is_needed,
    a_copy_taken_for_complete_too_early,
    a_failed_copy_taken_for_complete,
    pages_reused_before_a_copy_has_stopped,
    an_end_taken_for_that_of_another_copy,
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


def _release_only_once(scheduler: Scheduler) -> None:
    """Otherwise the pool would notice before a token is wrong."""
    for room in (*scheduler.memory.rooms, scheduler.memory.host):
        _patch(room, "give_back", partial(_give_back_once, room.give_back))


def _give_back_once(give_back: Callable[[Lease], None], lease: Lease) -> None:
    if not lease.is_released:
        give_back(lease)


def _bring_nothing(executor: FakeExecutor, direction: Direction) -> None:
    """The end of a copy is told, and no page is written."""
    write = executor.write

    def tell(ended: Ended) -> CopyEnded | ReadEnded:
        work = ended.work
        if isinstance(work, Read) or work.direction is not direction:
            return write(ended)
        return CopyEnded(work.ticket, ended.num_pages, ended.error)

    _patch(executor, "write", tell)


def _change_copies(executor: FakeExecutor, change: Callable[[Copy], Copy]) -> None:
    begin = executor.begin

    def begin_changed(transfers: Transfers) -> None:
        copies = tuple(change(copy) for copy in transfers.copies)
        begin(structs.replace(transfers, copies=copies))

    _patch(executor, "begin", begin_changed)


def _change_batches(executor: FakeExecutor, change: Callable[[Batch], Batch]) -> None:
    execute = executor.execute

    def execute_changed(batch: Batch) -> StepResult:
        return execute(change(batch))

    _patch(executor, "execute", execute_changed)


def _change_rows(executor: FakeExecutor, change: Callable[[Row], Row]) -> None:
    def change_all(batch: Batch) -> Batch:
        return replace(batch, rows=tuple(change(row) for row in batch.rows))

    _change_batches(executor, change_all)
