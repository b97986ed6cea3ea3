"""LoRA on CPUs at sizes that fill no vector, at all ranks, from one row to thousands."""

import random

import pytest
import torch
from torch import Tensor

from motet.kernels import NO_GAIN, LoraTables, load_kernels
from tests.kernels.batches import BASE, a_lora_batch
from tests.kernels.target import TOLERANCE, Target, assert_near

MAX_RANK = 256
RANKS = (0, 1, 2, 3, 5, 8, 11, 16, 100, 255, 256)
"""Of the adapter in each slot."""


@pytest.fixture
def target(dtype: torch.dtype) -> Target:
    return Target(load_kernels("cpu"), torch.device("cpu"), dtype)


def a_tiled_matrix(target: Target, rank: int, width: int, tile_ranks: int) -> tuple[Tensor, Tensor]:
    """Rank rows `[rank, width]`, and their tiles: NaN past the rank."""
    rows = target.randn(rank, width)
    tiles = torch.full((-(-rank // tile_ranks) * tile_ranks, width), torch.nan, dtype=target.dtype)
    tiles[:rank] = rows
    return rows.double(), tiles.flatten()


@pytest.mark.parametrize("num_rows", [1, 2, 7, 150, 4096])
@pytest.mark.parametrize(
    ("in_features", "out_features", "tile_ranks"),
    [(1, 1, 8), (37, 301, 8), (37, 301, 6), (1030, 45, 8)],
)
def test_odd_sizes_equal_dense_products(
    target: Target, num_rows: int, in_features: int, out_features: int, tile_ranks: int
) -> None:
    rng = random.Random(num_rows)
    slots = [rng.randrange(BASE, len(RANKS)) for _ in range(num_rows - 1)] + [len(RANKS) - 1]
    x, y = target.randn(num_rows, in_features), target.randn(num_rows, out_features)
    expected, parts, end = y.double(), [], 0
    offsets = torch.zeros(2, len(RANKS), 1, -(-MAX_RANK // tile_ranks), dtype=torch.int64)
    for slot, rank in enumerate(RANKS):
        sides = []
        for offset, width in zip(offsets, (in_features, out_features), strict=True):
            side, tiles = a_tiled_matrix(target, rank, width, tile_ranks)
            num_tiles, tile = -(-rank // tile_ranks), tile_ranks * width
            offset[slot, 0, :num_tiles] = end + tile * torch.arange(num_tiles)
            sides.append(side)
            parts.append(tiles)
            end += len(tiles)
        rows = [row for row, other in enumerate(slots) if other == slot]
        a, b = sides
        expected[rows] += 0.5 * (x[rows].double() @ a.T) @ b
    arena = torch.cat(parts)
    tables = LoraTables(
        a_offset=offsets[0],
        b_offset=offsets[1],
        rank=target.ints(RANKS).view(-1, 1),
        scale=torch.full((len(RANKS), 1), 0.5),
        gain_offset=torch.full((len(RANKS), 1), NO_GAIN),
        tile_ranks=tile_ranks,
        tile_width=2000,
    )
    batch = a_lora_batch(target, slots)
    shrunk = torch.full((1, len(batch.row_index), MAX_RANK), torch.nan)

    target.kernels.lora_shrink(shrunk, x, arena, tables, batch, 0)
    target.kernels.lora_expand(y, shrunk, arena, tables, batch, 0, (0, out_features))

    assert_near(y, expected, TOLERANCE[target.dtype])
