"""Random batches: every backend computes what the reference does."""

import random

import pytest
import torch

from motet.kernels import reference
from tests.kernels.arena import MODULES, NUM_SLOTS, Arena, a_layout, an_adapter, same_rank
from tests.kernels.batches import BASE, LAYER, a_lora_batch, an_attention_batch, some_rows
from tests.kernels.target import TOLERANCE, Target, assert_near

SEEDS = range(3)


@pytest.mark.parametrize("seed", SEEDS)
def test_lora_equals_the_reference(target: Target, seed: int) -> None:
    rng = random.Random(seed)
    ranks = [rng.choice((0, 1, 4, 7, 8, 16, 24, 33)) for _ in range(NUM_SLOTS)]
    slots = [rng.randrange(BASE, NUM_SLOTS) for _ in range(rng.randrange(40))]
    arena = Arena(target, a_layout(target), num_pages=120)
    for slot, rank in enumerate(ranks):
        arena.load(slot, an_adapter(target, same_rank(rank)))
    x, y = target.randn(len(slots), 72), target.randn(len(slots), 144)
    batch, results = a_lora_batch(target, slots), []

    for kernels in (target.kernels, reference):
        result = y.clone()
        shrunk = torch.full((3, batch.row_index.shape[0], 64), torch.nan, device=target.device)
        at = (arena.memory, arena.tables, batch, LAYER * len(MODULES))
        kernels.lora_shrink(shrunk, x, *at)
        kernels.lora_expand(result, shrunk, *at, (0, 96, 120, 144))
        results.append(result)

    actual, expected = results
    assert_near(actual, expected, TOLERANCE[target.dtype])


@pytest.mark.parametrize("seed", SEEDS)
def test_attention_equals_the_reference(target: Target, seed: int) -> None:
    rng = random.Random(seed)
    window = rng.choice((None, rng.randrange(1, 40)))
    contexts = [rng.randrange(1, 40) for _ in range(rng.randrange(1, 9))]
    lengths = [(rng.choice((1, rng.randint(1, context))), context) for context in contexts]
    arena = Arena(target, a_layout(target, page_tokens=4, head_dim=16), num_pages=100)
    batch = an_attention_batch(arena, some_rows(arena, lengths))
    query, results = target.randn(len(batch.kv_index), 6, 16), []

    for kernels in (target.kernels, reference):
        results.append(torch.full_like(query, torch.nan))
        kernels.paged_attention(results[-1], query, arena.kv, LAYER, batch, 0.25, window)

    actual, expected = results
    assert_near(actual, expected, TOLERANCE[target.dtype])
