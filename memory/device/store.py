"""Adapters in host memory, each in the exact bytes of its pages."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from motet.memory.device.base_tensors import BaseTensors
from motet.memory.device.dora import output_gains
from motet.memory.device.weights import AdapterWeights, too_large
from motet.memory.geometry import AdapterGeometry
from motet.memory.layout import TILE_RANKS, PageLayout, num_tiles
from motet.memory.packing import GAINS, SIDE_A, Packing, Ranks, Tile, pack

NO_PAGE = -1


@dataclass(frozen=True, slots=True, eq=False)
class HostImage:
    """One adapter, ready to copy: its pages, and what a slot's table rows say about it.

    Tile `[site, side, group]` starts at element `tile_offset` of the adapter's page number
    `tile_page`; groups run to the adapter's own largest rank. Places without a tile say 0. The
    gains and shifts of a site's outputs are found in the same way.
    """

    pages: Tensor  # engine dtype [num_pages, page_elements]
    tile_page: Tensor  # int64 [sites, 2, groups]
    tile_offset: Tensor  # int64 [sites, 2, groups]
    gain_page: Tensor  # int64 [sites], NO_PAGE where outputs are not rescaled
    gain_offset: Tensor  # int64 [sites]
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
        base: BaseTensors,
        *,
        pin_memory: bool,
    ) -> None:
        """DoRA asks `base` for weights. `pin_memory` makes copies to a CUDA device asynchronous."""
        self._geometry = geometry
        self._layout = layout
        self._dtype = dtype
        self._base_model_id = base_model_id
        self._base = base
        self._pin_memory = pin_memory
        self._images: dict[str, HostImage] = {}
        self._packings: dict[_Pattern, Packing] = {}  # few patterns serve many adapters

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
        packing = self._packing((weights.ranks, weights.rescaled))
        gains = {
            module: output_gains(weights, module, self._base, self._dtype)
            for module in weights.rescaled
        }
        shape = (packing.num_pages, self._layout.elements)
        pages = torch.zeros(shape, dtype=self._dtype, pin_memory=self._pin_memory)
        for placed in packing.tiles:
            rows = _rows_of(placed.tile, weights, gains)
            target = pages[placed.page, placed.offset : placed.offset + rows.numel()]
            target.view(rows.shape).copy_(rows)  # rows beyond the rank stay zero
        if not pages.isfinite().all():
            raise too_large(weights.source, self._dtype)
        tile_page, tile_offset, gain_page, gain_offset = _tile_tables(packing, weights)
        module_of_site = [site.module for site in self._geometry.sites]
        return HostImage(
            pages=pages,
            tile_page=tile_page,
            tile_offset=tile_offset,
            gain_page=gain_page,
            gain_offset=gain_offset,
            rank=torch.tensor(weights.ranks, dtype=torch.int32)[module_of_site],
            scale=torch.tensor(weights.scales, dtype=torch.float32)[module_of_site],
        )

    def _packing(self, pattern: "_Pattern") -> Packing:
        if pattern not in self._packings:
            ranks, rescaled = pattern
            elements, align = self._layout.elements, self._layout.align_elements
            self._packings[pattern] = pack(self._geometry, ranks, elements, align, rescaled)
        return self._packings[pattern]


_Pattern = tuple[Ranks, frozenset[int]]
"""Ranks, and the modules whose outputs are rescaled."""


def _rows_of(tile: Tile, weights: AdapterWeights, gains: Mapping[int, Tensor]) -> Tensor:
    """What lies in a tile: rank rows, fewer than it has room for at the end of a matrix."""
    site = weights.geometry.sites[tile.site]
    if tile.side == GAINS:
        return gains[site.module][:, site.outputs.start : site.outputs.stop]
    pair = weights.pairs[site.module]
    matrix, columns = (pair.a, site.inputs) if tile.side == SIDE_A else (pair.b.T, site.outputs)
    ranks = slice(tile.group * TILE_RANKS, (tile.group + 1) * TILE_RANKS)
    return matrix[ranks, columns.start : columns.stop]


def _tile_tables(
    packing: Packing, weights: AdapterWeights
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Page and offset of every tile, each `[sites, 2, groups]`, and of the gains, `[sites]`."""
    num_sites, num_groups = len(weights.geometry.sites), num_tiles(weights.max_rank)
    page, offset = (np.zeros((num_sites, 2, num_groups), np.int64) for _ in range(2))
    gain_page, gain_offset = np.full(num_sites, NO_PAGE), np.zeros(num_sites, np.int64)
    for placed in packing.tiles:
        tile = placed.tile
        if tile.side == GAINS:
            gain_page[tile.site], gain_offset[tile.site] = placed.page, placed.offset
        else:
            place = tile.site, tile.side, tile.group
            page[place], offset[place] = placed.page, placed.offset
    return (
        torch.from_numpy(page),
        torch.from_numpy(offset),
        torch.from_numpy(gain_page),
        torch.from_numpy(gain_offset),
    )
