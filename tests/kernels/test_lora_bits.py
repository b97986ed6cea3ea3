"""What LoRA adds to a row is bitwise the same in any batch, in any chunks, on any threads."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from motet.kernels import LoraBatch, load_kernels
from tests.kernels.arena import MODULES, NUM_SLOTS, Arena, a_layout, an_adapter, same_rank
from tests.kernels.batches import BASE, LAYER, a_lora_batch
from tests.kernels.target import Target, bits

OUT_START = (0, 96, 120, 144)
RANKS = (1, 8, 13, 64, 4, 256, 0, 24, 33, 7)
"""Of the adapter in each slot."""


@pytest.fixture
def target(dtype: torch.dtype) -> Target:
    return Target(load_kernels("cpu"), torch.device("cpu"), dtype)


@pytest.fixture
def arena(target: Target) -> Arena:
    arena = Arena(target, a_layout(target), num_pages=400)
    of_layer = range(LAYER * len(MODULES), (LAYER + 1) * len(MODULES))
    for slot, rank in enumerate(RANKS):
        rescaled = of_layer if slot % 2 else ()
        arena.load(slot, an_adapter(target, same_rank(rank), rescaled))
    return arena


def add_lora(arena: Arena, y: Tensor, x: Tensor, batch: LoraBatch) -> Tensor:
    """The outputs of q, k and v after LoRA, as bits."""
    kernels, result = arena.target.kernels, y.clone()
    shrunk = torch.full((3, len(batch.row_index), max(RANKS)), torch.nan)
    at = (arena.memory, arena.tables, batch, LAYER * len(MODULES))
    kernels.lora_shrink(shrunk, x, *at)
    kernels.lora_expand(result, shrunk, *at, OUT_START)
    return bits(result).view(len(y), -1)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("slot", range(NUM_SLOTS))
@pytest.mark.parametrize("num_rows", [2, 5, 64, 130])
def test_a_row_is_the_same_alone_and_among_neighbours(
    target: Target, arena: Arena, slot: int, num_rows: int
) -> None:
    rng = random.Random(num_rows)
    x, y = target.randn(num_rows, 72), target.randn(num_rows, 144)
    place = rng.randrange(num_rows)
    alone = add_lora(
        arena, y[place : place + 1], x[place : place + 1], a_lora_batch(target, [slot])
    )

    for others in ([slot], range(BASE, NUM_SLOTS)):
        slots = [rng.choice(others) for _ in range(num_rows)]
        slots[place] = slot
        together = add_lora(arena, y, x, a_lora_batch(target, slots))

        assert torch.equal(together[place], alone[0])


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_the_same_in_any_chunks(target: Target, arena: Arena, seed: int) -> None:
    rng = random.Random(seed)
    slots = [rng.choice((BASE, 0, 2, 5, 8)) for _ in range(90)]
    x, y = target.randn(90, 72), target.randn(90, 144)
    whole = a_lora_batch(target, slots)

    expected = add_lora(arena, y, x, whole)
    actual = add_lora(arena, y, x, in_other_chunks(target, whole, rng))

    assert torch.equal(actual, expected)


def in_other_chunks(target: Target, batch: LoraBatch, rng: random.Random) -> LoraBatch:
    """The same rows in chunks of random lengths, and these in any order."""
    columns = (batch.chunk_slot, batch.chunk_start, batch.chunk_len)
    chunks = []
    for slot, start, length in zip(*(c[: batch.num_chunks].tolist() for c in columns), strict=True):
        done = 0
        while done < length:
            chunks.append((slot, start + done, rng.randint(1, length - done)))
            done += chunks[-1][2]
    rng.shuffle(chunks)
    slot, start, length = target.ints(chunks).T.contiguous()
    return LoraBatch(batch.row_index, slot, start, length, target.ints([len(chunks)]))


def test_rows_are_the_same_on_one_thread_and_on_two(target: Target, arena: Arena) -> None:
    slots = [row % NUM_SLOTS for row in range(70)]
    x, y = target.randn(70, 72), target.randn(70, 144)
    batch = a_lora_batch(target, slots)

    with threads(1):
        expected = add_lora(arena, y, x, batch)
    with threads(2):
        results = [add_lora(arena, y, x, batch) for _ in range(10)]

    assert all(torch.equal(result, expected) for result in results)
