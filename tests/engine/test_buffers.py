"""Tensors kept from step to step are those that would be made from nothing."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from motet.engine.config import BatchConfig
from motet.engine.device.buffers import StepBuffers, _Buffer
from motet.engine.plan import BASE_SLOT, AdapterBinding, Batch, PromptTargets, Row
from motet.engine.request import SamplingParams
from motet.memory.page import PageId

PAGE_TOKENS = 4
MAX_ROWS = 8
MAX_MODEL_LEN = 64
LIMITS = BatchConfig(max_batch_tokens=64, max_batch_rows=MAX_ROWS)

Pages = tuple[PageId, ...]


def some_buffers() -> StepBuffers:
    return StepBuffers(LIMITS, MAX_MODEL_LEN, PAGE_TOKENS, torch.device("cpu"))


def a_batch(*rows: Row) -> Batch:
    slots = {row.slot for row in rows} - {BASE_SLOT}
    return Batch(
        1, rows, tuple(AdapterBinding(slot, f"digest-{slot}", ()) for slot in sorted(slots))
    )


def a_decode(pages: Pages, slot: int = BASE_SLOT) -> Row:
    """Of the last position in these pages."""
    start = len(pages) * PAGE_TOKENS - 1
    return Row(f"r{pages[0]}", (start,), start, pages, slot, SamplingParams(100), 1)


def some_pages(first: int, count: int) -> Pages:
    return tuple(PageId(first + i) for i in range(count))


def the_table(buffers: StepBuffers, *pages: Pages) -> Tensor:
    return buffers.fill(a_batch(*map(a_decode, pages))).attention.page_table


@dataclass(slots=True)
class Track:
    """One sequence of the storm."""

    slot: int
    pages: Pages = ()
    num_tokens: int = 0

    def a_row(self, number: int, dice: random.Random) -> Row:
        """The next tokens, often one; pages are the same object unless one of them changes."""
        start = self.num_tokens
        count = dice.choice((1, 1, 1, dice.randint(1, 8)))
        self.num_tokens += count
        missing = -(-self.num_tokens // PAGE_TOKENS) - len(self.pages)
        if missing > 0:
            self.pages += some_pages(dice.randrange(10_000), missing)
        if dice.random() < 0.05:  # sealed as a page that another sequence has computed
            self.pages = (PageId(dice.randrange(10_000)), *self.pages[1:])
        samples = dice.random() < 0.8
        targets = PromptTargets(start + 1, (7,) * count, 0) if dice.random() < 0.1 else None
        return Row(
            request_id=f"r{number}",
            tokens=tuple(dice.randrange(1000) for _ in range(count)),
            start=start,
            pages=self.pages,
            slot=self.slot,
            sampling=SamplingParams(100) if samples else None,
            num_generated=0,
            targets=targets,
        )


def a_storm(seed: int, num_steps: int) -> Iterator[Batch]:
    """Sequences come, grow, sit out a step, change places and go."""
    dice = random.Random(seed)
    tracks: dict[int, Track] = {}
    for step in range(num_steps):
        while len(tracks) < MAX_ROWS and dice.random() < 0.6:
            tracks[len(tracks) + step * MAX_ROWS] = Track(dice.randint(BASE_SLOT, 2))
        order = [number for number in tracks if dice.random() < 0.9]
        if dice.random() < 0.2:
            dice.shuffle(order)
        if order:
            yield a_batch(*(tracks[number].a_row(number, dice) for number in order))
        for number, track in list(tracks.items()):
            if dice.random() < 0.05 or track.num_tokens > MAX_MODEL_LEN - 8:
                del tracks[number]


def values(inputs: object) -> object:
    """All tensors in a dataclass as lists."""
    if isinstance(inputs, Tensor):
        return inputs.dtype, inputs.tolist()
    if is_dataclass(inputs):
        return {field.name: values(getattr(inputs, field.name)) for field in fields(inputs)}
    return inputs


@pytest.fixture
def device_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers lie as beside a GPU: what is written on the host has to be sent."""
    prepare = _Buffer.__init__

    def prepare_two(buffer: _Buffer, *args: Any) -> None:
        prepare(buffer, *args)
        buffer._device = torch.full_like(buffer._host, -7)

    monkeypatch.setattr(_Buffer, "__init__", prepare_two)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_came_before_a_batch_gives_the_same_tensors(seed: int) -> None:
    kept = some_buffers()
    for batch in a_storm(seed, num_steps=100):
        assert values(kept.fill(batch)) == values(some_buffers().fill(batch))


def test_tensors_of_another_device_hold_all_that_was_written(
    request: pytest.FixtureRequest,
) -> None:
    batches = list(a_storm(seed=5, num_steps=100))
    expected = [values(some_buffers().fill(batch)) for batch in batches]
    request.getfixturevalue("device_apart")
    apart = some_buffers()
    assert [values(apart.fill(batch)) for batch in batches] == expected


def test_pages_that_are_the_same_object_are_not_written_again() -> None:
    buffers, first, second = some_buffers(), some_pages(10, 2), some_pages(20, 2)
    the_table(buffers, first, second)[0, 0] = 77

    again = the_table(buffers, first, some_pages(30, 2))

    assert again.tolist() == [[77, 11], [30, 31]]


def test_of_pages_that_have_grown_only_the_tail_is_written() -> None:
    buffers, pages = some_buffers(), some_pages(10, 2)
    the_table(buffers, pages)[0, 0] = 77
    assert the_table(buffers, some_pages(10, 3)).tolist() == [[77, 11, 12]]


def test_rows_move_up_when_one_before_them_ends() -> None:
    buffers = some_buffers()
    rows: Sequence[Pages] = [some_pages(10 * i, 2 + i) for i in range(1, 5)]
    the_table(buffers, *rows)[2, 0] = 77

    moved = the_table(buffers, *rows[1:])

    assert moved.tolist() == [[20, 21, 22, 23, 0, 0], [77, 31, 32, 33, 34, 0], list(range(40, 46))]


def test_adapters_are_laid_out_once_for_the_tokens_of_a_decode_and_those_it_samples() -> None:
    buffers, rows = some_buffers(), [a_decode(some_pages(10, 1), 0), a_decode(some_pages(20, 1))]
    inputs, again = buffers.fill(a_batch(*rows)), buffers.fill(a_batch(*rows))
    assert inputs.sampled_lora is inputs.lora is again.lora is not None
