"""Random batches: every backend attends as the reference does."""

import random

import pytest
import torch

from motet.kernels import reference
from tests.kernels.arena import Arena, a_layout
from tests.kernels.batches import LAYER, an_attention_batch, some_rows
from tests.kernels.target import TOLERANCE, Target, assert_near

GROUP = "attention"

SEEDS = range(3)


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
        plan = kernels.prepare_attention(batch, arena.kv, 6, 0.25, window)
        kernels.paged_attention(results[-1], query, arena.kv, LAYER, plan)

    actual, expected = results
    assert_near(actual, expected, TOLERANCE[target.dtype])
