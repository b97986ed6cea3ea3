"""Adapters in host memory, each in the exact bytes of its pages."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from motet.errors import AdapterError
from motet.memory.device.weights import AdapterWeights
from motet.memory.geometry import AdapterGeometry
from motet.memory.layout import TILE_RANKS, PageLayout, num_tiles
from motet.memory.packing import SIDE_A, Packing, PlacedTile, Ranks, pack


@dataclass(frozen=True, slots=True, eq=False)
class HostImage:
    """One adapter, ready to copy: its pages, and what a slot's table rows say about it.

    Tile `[site, side, group]` starts at element `tile_offset` of the adapter's page number
    `tile_page`; groups run to the adapter's own largest rank. Places without a tile say 0.
    """

    pages: Tensor  # engine dtype [num_pages, page_elements]
    tile_page: Tensor  # int64 [sites, 2, groups]
    tile_offset: Tensor  # int64 [sites, 2, groups]
    rank: Tensor  # int32 [sites]
    scale: Tensor  # float32 [sites]

    @property
    def num_pages(self) -> int:
        return self.pages.shape[0]


class HostStore:
    """Digest -> host image. Only complete images are ever seen, and they never change."""

    def __init__(
        self,
        geometry: AdapterGeometry,
        layout: PageLayout,
        dtype: torch.dtype,
        base_model_id: str,
        *,
        pin_memory: bool,
    ) -> None:
        """`pin_memory` makes copies to a CUDA device asynchronous."""
        self._geometry = geometry
        self._layout = layout
        self._dtype = dtype
        self._base_model_id = base_model_id
        self._pin_memory = pin_memory
        self._images: dict[str, HostImage] = {}
        self._packings: dict[Ranks, Packing] = {}  # few rank patterns serve many adapters

    def stage(self, weights: AdapterWeights) -> str:
        """Lay the adapter out in host memory and return its digest.

        Equal contents share one image. Raises AdapterError where a weight is too large for the
        engine's dtype.
        """
        digest = weights.digest(self._base_model_id, self._dtype)
        if digest not in self._images:
            self._images[digest] = self._image(weights)
        return digest

    def __getitem__(self, digest: str) -> HostImage:
        return self._images[digest]

    def __len__(self) -> int:
        return len(self._images)

    def _image(self, weights: AdapterWeights) -> HostImage:
        packing = self._packing(weights.ranks)
        shape = (packing.num_pages, self._layout.elements)
        pages = torch.zeros(shape, dtype=self._dtype, pin_memory=self._pin_memory)
        for placed in packing.tiles:
            _write_tile(pages, placed, weights)
        if not pages.isfinite().all():
            raise AdapterError(
                f"adapter '{weights.source}': a weight is too large for {self._dtype}: "
                "start with --dtype float32 or bfloat16"
            )
        tile_page, tile_offset = _tile_tables(packing, weights)
        module_of_site = [site.module for site in self._geometry.sites]
        return HostImage(
            pages=pages,
            tile_page=tile_page,
            tile_offset=tile_offset,
            rank=torch.tensor(weights.ranks, dtype=torch.int32)[module_of_site],
            scale=torch.tensor(weights.scales, dtype=torch.float32)[module_of_site],
        )

    def _packing(self, ranks: Ranks) -> Packing:
        if ranks not in self._packings:
            self._packings[ranks] = pack(
                self._geometry, ranks, self._layout.elements, self._layout.align_elements
            )
        return self._packings[ranks]


def _write_tile(pages: Tensor, placed: PlacedTile, weights: AdapterWeights) -> None:
    """Cast one tile into its place; rows beyond the rank stay zero."""
    tile = placed.tile
    site = weights.geometry.sites[tile.site]
    pair = weights.pairs[site.module]
    rank_rows, columns = (pair.a, site.inputs) if tile.side == SIDE_A else (pair.b.T, site.outputs)
    ranks = slice(tile.group * TILE_RANKS, (tile.group + 1) * TILE_RANKS)
    rows = rank_rows[ranks, columns.start : columns.stop]
    start = placed.offset
    target = pages[placed.page, start : start + rows.numel()]
    target.view(rows.shape).copy_(rows)


def _tile_tables(packing: Packing, weights: AdapterWeights) -> tuple[Tensor, Tensor]:
    """Page and offset of every tile, each `[sites, 2, groups]`."""
    shape = (len(weights.geometry.sites), 2, num_tiles(weights.max_rank))
    page, offset = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for placed in packing.tiles:
        tile = placed.tile
        place = tile.site, tile.side, tile.group
        page[place], offset[place] = placed.page, placed.offset
    return torch.from_numpy(page), torch.from_numpy(offset)
