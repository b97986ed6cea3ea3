"""What kernels are called on: arenas, adapters and batches as the engine lays them out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from motet.bench.random_model import Shape
from motet.kernels import CHUNK_ROWS, NO_GAIN, AttentionBatch, LoraBatch, LoraTables
from motet.memory.device.arena import Arena
from motet.memory.geometry import AdapterGeometry, Module, in_layers
from motet.memory.layout import TILE_RANKS, PageLayout, num_tiles
from motet.memory.packing import SIDE_A, SIDE_B, pack

PAGE_TOKENS = 16
RANDOM_ELEMENTS = 2**18
"""Repeated to fill what is larger: as good to compute with, and made much sooner."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A model's sizes in one dtype."""

    shape: Shape
    dtype: torch.dtype

    @property
    def head_dim(self) -> int:
        return self.shape.hidden_size // self.shape.num_attention_heads

    @property
    def kv_width(self) -> int:
        return self.shape.num_key_value_heads * self.head_dim

    @property
    def layout(self) -> PageLayout:
        shape = self.shape
        return PageLayout(
            shape.num_hidden_layers,
            PAGE_TOKENS,
            shape.num_key_value_heads,
            self.head_dim,
            self.dtype.itemsize,
        )

    def random(self, *size: int) -> Tensor:
        filled = torch.empty(size, dtype=self.dtype)
        fill(filled)
        return filled

    def arena(self, num_pages: int) -> Arena:
        """Every page holds finite numbers."""
        arena = Arena(self.layout, num_pages, self.dtype, torch.device("cpu"))
        fill(arena.flat)
        return arena


def fill(target: Tensor) -> None:
    """Small random numbers."""
    flat = target.view(-1)
    some = (torch.randn(min(RANDOM_ELEMENTS, flat.numel())) * 0.02).to(target.dtype)
    for start in range(0, flat.numel(), len(some)):
        piece = flat[start : start + len(some)]
        piece.copy_(some[: len(piece)])


def an_attention_batch(
    num_rows: int, num_queries: int, context_len: int, seed: int = 0
) -> AttentionBatch:
    """Rows of equal lengths on pages in random order."""
    pages_each = -(-context_len // PAGE_TOKENS)
    pages = np.random.default_rng(seed).permutation(num_rows * pages_each)
    table = pages.reshape(num_rows, pages_each)
    positions = np.arange(context_len - num_queries, context_len)
    kv_index = table[:, positions // PAGE_TOKENS] * PAGE_TOKENS + positions % PAGE_TOKENS
    return AttentionBatch(
        query_start=torch.arange(num_rows + 1, dtype=torch.int32) * num_queries,
        context_len=torch.full((num_rows,), context_len, dtype=torch.int32),
        page_table=torch.from_numpy(table).to(torch.int32),
        kv_index=torch.from_numpy(kv_index.flatten()),
        max_query_len=num_queries,
    )


@dataclass(frozen=True, slots=True)
class LoraSetting:
    """Adapters in an arena; those of slot i have `ranks[i]` on every module."""

    arena: Tensor
    tables: LoraTables
    ranks: tuple[int, ...]

    @classmethod
    def of(
        cls, setting: Setting, modules: tuple[Module, ...], ranks: Sequence[int], num_layers: int
    ) -> "LoraSetting":
        layout = setting.layout
        geometry = AdapterGeometry(in_layers(num_layers, modules), layout.tile_width)
        shape = (len(ranks), len(geometry.sites))
        offset = torch.zeros(2, *shape, num_tiles(max(ranks)), dtype=torch.int64)
        num_pages = 0
        for slot, rank in enumerate(ranks):
            uniform = (rank,) * len(geometry.modules)
            packing = pack(geometry, uniform, layout.elements, layout.align_elements)
            for placed in packing.tiles:
                tile = placed.tile
                start = (num_pages + placed.page) * layout.elements + placed.offset
                offset[tile.side, slot, tile.site, tile.group] = start
            num_pages += packing.num_pages
        rank_of_slot = torch.tensor(ranks, dtype=torch.int32)
        tables = LoraTables(
            a_offset=offset[SIDE_A],
            b_offset=offset[SIDE_B],
            rank=rank_of_slot[:, None].expand(shape).contiguous(),
            scale=torch.full(shape, 2.0),
            gain_offset=torch.full(shape, NO_GAIN),
            tile_ranks=TILE_RANKS,
            tile_width=geometry.tile_width,
        )
        return cls(setting.arena(num_pages).flat, tables, tuple(ranks))

    def batch(self, num_rows: int) -> LoraBatch:
        """Rows take the adapters in turn."""
        slots = np.arange(num_rows) % len(self.ranks)
        row_index = np.argsort(slots, kind="stable")
        ends = np.cumsum(np.bincount(slots))
        chunks = [
            (slot, start, min(CHUNK_ROWS, end - start))
            for slot, (first, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True))
            for start in range(int(first), int(end), CHUNK_ROWS)
        ]
        slot, start, length = torch.tensor(chunks, dtype=torch.int32).T.contiguous()
        return LoraBatch(
            row_index=torch.from_numpy(row_index).to(torch.int32),
            chunk_slot=slot,
            chunk_start=start,
            chunk_len=length,
            num_chunks=torch.tensor([len(chunks)], dtype=torch.int32),
        )

    def rank_rows(self, num_rows: int) -> int:
        """Sum of the ranks of so many rows."""
        return sum(self.ranks[row % len(self.ranks)] for row in range(num_rows))
