"""A real arena, placed by the memory package: whatever no one wrote is NaN."""

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from motet.kernels import LoraTables
from motet.memory.layout import TILE_RANKS, AdapterGeometry, LinearShape, PageLayout, num_tiles
from motet.memory.packing import SIDE_A, SIDE_B, Packing, Ranks, pack
from motet.memory.page import Lease, PageOwner, PagePool
from tests.kernels.target import Target

NUM_SLOTS = 10

GEOMETRY = AdapterGeometry(
    num_layers=2,
    modules=(
        LinearShape("q_proj", 72, 96),
        LinearShape("k_proj", 72, 24),  # grouped-query attention: K and V are narrower than Q
        LinearShape("v_proj", 72, 24),
        LinearShape("o_proj", 96, 72),
        LinearShape("gate_proj", 72, 200),
        LinearShape("up_proj", 72, 200),
        LinearShape("down_proj", 200, 72),
    ),
)


@dataclass(frozen=True, slots=True)
class DenseAdapter:
    """An adapter as PEFT holds it. Index matrices by (layer, module)."""

    ranks: Ranks
    a: dict[tuple[int, int], Tensor]  # [rank, in_features]
    b: dict[tuple[int, int], Tensor]  # [out_features, rank]
    scale: dict[tuple[int, int], float]


def an_adapter(target: Target, ranks: Ranks) -> DenseAdapter:
    a, b, scale = {}, {}, {}
    for layer, layer_ranks in enumerate(ranks):
        for module, rank in enumerate(layer_ranks):
            shape = GEOMETRY.modules[module]
            a[layer, module] = target.randn(rank, shape.in_features)
            b[layer, module] = target.randn(shape.out_features, rank)
            scale[layer, module] = 0.25 + 0.5 * layer + 0.125 * module
    return DenseAdapter(ranks, a, b, scale)


def same_rank(rank: int) -> Ranks:
    return ((rank,) * len(GEOMETRY.modules),) * GEOMETRY.num_layers


class Arena:
    """Pages, the pool that owns them and the tables that find adapters in them."""

    def __init__(self, target: Target, layout: PageLayout, num_pages: int, max_rank: int = 256):
        shape = (NUM_SLOTS, GEOMETRY.num_layers, len(GEOMETRY.modules))
        self.target = target
        self.layout = layout
        self.pool = PagePool(num_pages)
        self.memory = torch.full(
            (num_pages * layout.elements,), torch.nan, dtype=target.dtype, device=target.device
        )
        self.kv = self.memory.view(num_pages, *layout.shape)
        self.tables = LoraTables(
            tile_offset=target.ints([], torch.int64).new_zeros(*shape, 2, num_tiles(max_rank)),
            rank=target.ints([]).new_zeros(shape),
            scale=torch.zeros(shape, device=target.device),
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
        packing = pack(GEOMETRY, adapter.ranks, self.layout.elements, self.layout.align_elements)
        lease = self.reserve(packing.num_pages, PageOwner.ADAPTER)
        pages = self.target.ints(lease.pages, torch.int64)
        image = _image(packing, adapter, self.layout.elements, self.target.dtype)
        self.target.kernels.copy_pages(self.memory, image, pages)
        for placed in packing.tiles:
            tile = placed.tile
            at = (slot, tile.layer, tile.module, tile.side, tile.group)
            self.tables.tile_offset[at] = (
                lease.pages[placed.page] * self.layout.elements + placed.offset
            )
        self.tables.rank[slot] = self.target.ints(adapter.ranks)
        for (layer, module), scale in adapter.scale.items():
            self.tables.scale[slot, layer, module] = scale
        return lease


def a_layout(target: Target, page_tokens: int = 24, head_dim: int = 24) -> PageLayout:
    """Two KV heads; with the defaults, pages a little larger than the largest tile."""
    return PageLayout(GEOMETRY.num_layers, page_tokens, 2, head_dim, target.dtype.itemsize)


def _image(
    packing: Packing, adapter: DenseAdapter, page_elements: int, dtype: torch.dtype
) -> Tensor:
    """The adapter's pages on the host. Between tiles, and past the rank in them, lies NaN."""
    image = torch.full((packing.num_pages, page_elements), torch.nan, dtype=dtype)
    for placed in packing.tiles:
        tile = placed.tile
        at = (tile.layer, tile.module)
        rank_rows = {SIDE_A: adapter.a[at], SIDE_B: adapter.b[at].T}[tile.side].cpu()
        rows = rank_rows[tile.group * TILE_RANKS : (tile.group + 1) * TILE_RANKS].flatten()
        image[placed.page, placed.offset : placed.offset + rows.numel()] = rows
    return image
