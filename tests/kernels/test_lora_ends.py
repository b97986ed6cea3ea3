"""LoRA on what is as wide as the vocabulary: tiles in parts, at several sites."""

import pytest
import torch
from torch import Tensor

from tests.kernels.arena import (
    EMBEDDING,
    EMBEDDING_SITE,
    ENDS,
    GEOMETRY,
    HEAD,
    HEAD_SITE,
    Arena,
    DenseAdapter,
    a_layout,
    an_adapter,
    same_rank,
)
from tests.kernels.batches import BASE, a_lora_batch
from tests.kernels.target import TOLERANCE, Target, assert_near

GROUP = "lora"

SLOTS = [3, BASE, 9, 0, 3, 4, BASE, 0, 9]
RANKS = {0: 1, 3: 8, 4: 13, 9: 32}
NUM_TOKEN_IDS, NUM_LOGITS = ENDS[0].in_features, ENDS[1].out_features


@pytest.fixture
def arena(target: Target) -> Arena:
    return Arena(target, a_layout(target), num_pages=100)


def some_adapters(arena: Arena) -> dict[int, DenseAdapter]:
    """In slots, some with gains; one touches neither end."""
    target = arena.target
    adapters = {
        slot: an_adapter(target, same_rank(0, rank), (EMBEDDING, HEAD) if rank > 8 else ())
        for slot, rank in RANKS.items()
    }
    adapters[4] = an_adapter(target, same_rank(2))
    for slot, adapter in adapters.items():
        arena.load(slot, adapter)
    return adapters


def expected_of(
    y: Tensor, adapters: dict[int, DenseAdapter], module: int, shrunk_of: list[Tensor]
) -> Tensor:
    """In float64; `shrunk_of[row]` is what A makes of the row's input."""
    result = y.double()
    for row, slot in enumerate(SLOTS):
        if slot != BASE and adapters[slot].ranks[module]:
            adapter = adapters[slot]
            result[row] += adapter.scale[module] * adapter.b[module].double() @ shrunk_of[row]
            if module in adapter.gains:
                gain, shift = adapter.gains[module].double()
                result[row] = gain * result[row] + shift
    return result


def test_an_embedding_reads_the_columns_of_its_tokens_in_any_part(
    target: Target, arena: Arena
) -> None:
    adapters = some_adapters(arena)
    tokens = target.ints([0, 7, 199, 200, 399, 400, 3, 449, 250], torch.int64)
    y, batch = target.randn(len(SLOTS), 72), a_lora_batch(target, SLOTS)
    columns = [
        adapters[slot].a[EMBEDDING][:, tokens[row]].double() if slot != BASE else tokens
        for row, slot in enumerate(SLOTS)
    ]
    expected = expected_of(y, adapters, EMBEDDING, columns)
    shrunk = torch.full((1, len(batch.row_index), 32), torch.nan, device=target.device)
    at = (arena.memory, arena.tables, batch, EMBEDDING_SITE)

    target.kernels.lora_embed(shrunk, tokens, *at, NUM_TOKEN_IDS)
    target.kernels.lora_expand(y, shrunk, *at, (0, 72))

    assert_near(y, expected, TOLERANCE[target.dtype])


def test_a_head_in_parts_shares_one_shrink(target: Target, arena: Arena) -> None:
    adapters = some_adapters(arena)
    x, y = target.randn(len(SLOTS), 72), target.randn(len(SLOTS), NUM_LOGITS)
    batch = a_lora_batch(target, SLOTS)
    products = [
        adapters[slot].a[HEAD].double() @ x[row].double() if slot != BASE else x[row]
        for row, slot in enumerate(SLOTS)
    ]
    expected = expected_of(y, adapters, HEAD, products)
    shrunk = torch.full((1, len(batch.row_index), 32), torch.nan, device=target.device)
    at = (arena.memory, arena.tables, batch, HEAD_SITE)

    target.kernels.lora_shrink(shrunk, x, *at)
    target.kernels.lora_expand(y, shrunk.expand(2, -1, -1), *at, (0, 200, NUM_LOGITS))

    assert_near(y, expected, TOLERANCE[target.dtype])


def test_every_column_of_a_wide_module_lies_at_exactly_one_site() -> None:
    for index, module in enumerate(GEOMETRY.modules):
        sites = [site for site in GEOMETRY.sites if site.module == index]
        assert [i for site in sites for i in site.inputs] == list(range(module.in_features))
        assert [i for site in sites for i in site.outputs] == list(range(module.out_features))
        assert all(max(len(s.inputs), len(s.outputs)) <= GEOMETRY.tile_width for s in sites)
