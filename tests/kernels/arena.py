"""A real arena, placed by the memory package: whatever no one wrote is NaN."""

import random
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from motet.kernels import NO_GAIN, LoraTables
from motet.memory.geometry import AdapterGeometry, Module, in_layers
from motet.memory.layout import TILE_RANKS, PageLayout, num_tiles
from motet.memory.packing import GAINS, SIDE_A, SIDE_B, Packing, Ranks, Tile, pack
from motet.memory.page import Lease, PageOwner, PagePool
from tests.kernels.target import Target

NUM_SLOTS = 10

NUM_LAYERS = 2
MODULES = (
    Module("q_proj", 72, 96),
    Module("k_proj", 72, 24),  # grouped-query attention: K and V are narrower than Q
    Module("v_proj", 72, 24),
    Module("o_proj", 96, 72),
    Module("gate_proj", 72, 200),
    Module("up_proj", 72, 200),
    Module("down_proj", 200, 72),
)
ENDS = (Module("embed_tokens", 450, 72, is_embedding=True), Module("lm_head", 72, 333))
"""So wide that their tiles take three sites, and two."""

GEOMETRY = AdapterGeometry((*in_layers(NUM_LAYERS, MODULES), *ENDS), tile_width=200)
EMBEDDING, HEAD = (NUM_LAYERS * len(MODULES) + end for end in range(2))  # modules
EMBEDDING_SITE, HEAD_SITE = EMBEDDING, HEAD + 2


@dataclass(frozen=True, slots=True)
class DenseAdapter:
    """An adapter as PEFT holds it, by module of the geometry."""

    ranks: Ranks
    a: list[Tensor]  # [rank, in_features]
    b: list[Tensor]  # [out_features, rank]
    scale: list[float]
    gains: dict[int, Tensor]  # [2, out_features]


def an_adapter(target: Target, ranks: Ranks, rescaled: Collection[int] = ()) -> DenseAdapter:
    shapes = zip(GEOMETRY.modules, ranks, strict=True)
    pairs = [
        (target.randn(rank, shape.in_features), target.randn(shape.out_features, rank))
        for shape, rank in shapes
    ]
    a, b = map(list, zip(*pairs, strict=True))
    scale = [0.25 + 0.125 * (module % 11) for module in range(len(ranks))]
    gains = {module: target.randn(2, GEOMETRY.modules[module].out_features) for module in rescaled}
    return DenseAdapter(ranks, a, b, scale, gains)


def same_rank(rank: int, ends: int = 0) -> Ranks:
    """On every module of the layers; `ends` on embedding and head."""
    return (rank,) * (NUM_LAYERS * len(MODULES)) + (ends, ends)


class Arena:
    """Pages, the pool that owns them and the tables that find adapters in them."""

    def __init__(self, target: Target, layout: PageLayout, num_pages: int, max_rank: int = 256):
        shape = (NUM_SLOTS, len(GEOMETRY.sites))
        self.target = target
        self.layout = layout
        self.pool = PagePool(num_pages)
        self.memory = torch.full(
            (num_pages * layout.elements,), torch.nan, dtype=target.dtype, device=target.device
        )
        self.kv = self.memory.view(num_pages, *layout.shape)
        self.tables = LoraTables(
            a_offset=target.ints([], torch.int64).new_zeros(*shape, num_tiles(max_rank)),
            b_offset=target.ints([], torch.int64).new_zeros(*shape, num_tiles(max_rank)),
            rank=target.ints([]).new_zeros(shape),
            scale=torch.zeros(shape, device=target.device),
            gain_offset=target.ints([], torch.int64).new_full(shape, NO_GAIN),
            tile_ranks=TILE_RANKS,
            tile_width=GEOMETRY.tile_width,
        )

    def reserve(self, num_pages: int, owner: PageOwner) -> Lease:
        lease = self.pool.reserve(num_pages, owner)
        assert lease is not None
        return lease

    def shuffle_free_pages(self, seed: int = 0) -> None:
        """Pages leased one after another are then no neighbours."""
        leases = [self.reserve(1, PageOwner.KV) for _ in range(self.pool.num_free)]
        random.Random(seed).shuffle(leases)
        for lease in leases:
            self.pool.release(lease)

    def load(self, slot: int, adapter: DenseAdapter) -> Lease:
        """Copy an adapter into pages of its own and bind it to a slot."""
        layout, rescaled = self.layout, adapter.gains.keys()
        packing = pack(GEOMETRY, adapter.ranks, layout.elements, layout.align_elements, rescaled)
        lease = self.reserve(packing.num_pages, PageOwner.ADAPTER)
        pages = self.target.ints(lease.pages, torch.int64)
        image = _image(packing, adapter, self.layout.elements, self.target.dtype)
        self.memory.view(-1, layout.elements)[pages] = image.to(self.memory.device)
        for placed in packing.tiles:
            tile, start = placed.tile, lease.pages[placed.page] * layout.elements + placed.offset
            if tile.side == GAINS:
                self.tables.gain_offset[slot, tile.site] = start
            else:
                sides = {SIDE_A: self.tables.a_offset, SIDE_B: self.tables.b_offset}
                sides[tile.side][slot, tile.site, tile.group] = start
        for index, site in enumerate(GEOMETRY.sites):
            self.tables.rank[slot, index] = adapter.ranks[site.module]
            self.tables.scale[slot, index] = adapter.scale[site.module]
        return lease


def a_layout(target: Target, page_tokens: int = 24, head_dim: int = 24) -> PageLayout:
    """Two KV heads; with the defaults, pages a little larger than the largest tile."""
    return PageLayout(NUM_LAYERS, page_tokens, 2, head_dim, target.dtype.itemsize)


def _image(
    packing: Packing, adapter: DenseAdapter, page_elements: int, dtype: torch.dtype
) -> Tensor:
    """The adapter's pages on the host. Between tiles, and past the rank in them, lies NaN."""
    image = torch.full((packing.num_pages, page_elements), torch.nan, dtype=dtype)
    for placed in packing.tiles:
        rows = _rows_of(placed.tile, adapter).cpu().flatten()
        image[placed.page, placed.offset : placed.offset + rows.numel()] = rows
    return image


def _rows_of(tile: Tile, adapter: DenseAdapter) -> Tensor:
    site = GEOMETRY.sites[tile.site]
    columns = site.inputs if tile.side == SIDE_A else site.outputs
    part = slice(columns.start, columns.stop)
    if tile.side == GAINS:
        return adapter.gains[site.module][:, part]
    matrix = adapter.a[site.module] if tile.side == SIDE_A else adapter.b[site.module].T
    return matrix[tile.group * TILE_RANKS : (tile.group + 1) * TILE_RANKS, part]
