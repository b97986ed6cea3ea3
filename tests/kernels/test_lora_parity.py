"""Random batches: every backend adds what the reference does."""

import random

import pytest
import torch

from motet.kernels import reference
from tests.kernels.arena import MODULES, NUM_SLOTS, Arena, a_layout, an_adapter, same_rank
from tests.kernels.batches import BASE, LAYER, a_lora_batch
from tests.kernels.target import TOLERANCE, Target, assert_near

GROUP = "lora"

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
