"""What a slot's rows of the kernels' tables say about an adapter: all but where its pages are."""

import threading
from dataclasses import dataclass
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from motet.memory.device.weights import AdapterWeights
from motet.memory.geometry import AdapterGeometry
from motet.memory.layout import PageLayout, num_tiles
from motet.memory.packing import GAINS, Ranks, Run, pack

NO_PAGE = -1


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class TilePattern:
    """Where the tiles of all adapters lie that have the same ranks.

    Tile `[site, side, group]` starts at element `tile_offset` of the adapter's page number
    `tile_page`; groups run to the largest rank. Places without a tile say 0. The gains and shifts
    of a site's outputs are found in the same way.
    """

    num_pages: int
    runs: tuple[Run, ...]
    tile_page: Tensor  # int64 [sites, 2, groups]
    tile_offset: Tensor  # int64 [sites, 2, groups]
    gain_page: Tensor  # int64 [sites], NO_PAGE where outputs are not rescaled
    gain_offset: Tensor  # int64 [sites]
    rank: Tensor  # int32 [sites]


@dataclass(frozen=True, slots=True, eq=False)
class AdapterTables:
    """One adapter."""

    pattern: TilePattern
    scale: Tensor  # float32 [sites]


class TilePatterns:
    """Each pattern once, as long as somebody has it. Any thread may ask."""

    def __init__(self, geometry: AdapterGeometry, layout: PageLayout) -> None:
        self._geometry = geometry
        self._layout = layout
        self._module_of_site = [site.module for site in geometry.sites]
        self._patterns: WeakValueDictionary[_Key, TilePattern] = WeakValueDictionary()
        self._lock = threading.Lock()

    def of(self, weights: AdapterWeights) -> TilePattern:
        """That of an adapter, whose values need not be there."""
        key = (weights.ranks, weights.rescaled)
        with self._lock:
            pattern = self._patterns.get(key)
            if pattern is None:
                pattern = self._patterns[key] = self._found(key)
            return pattern

    def tables(self, weights: AdapterWeights) -> AdapterTables:
        scale = torch.tensor(weights.scales, dtype=torch.float32)
        return AdapterTables(self.of(weights), scale[self._module_of_site])

    def __len__(self) -> int:
        return len(self._patterns)

    def _found(self, key: "_Key") -> TilePattern:
        ranks, rescaled = key
        elements, align = self._layout.elements, self._layout.align_elements
        packing = pack(self._geometry, ranks, elements, align, rescaled)
        num_sites, num_groups = len(self._geometry.sites), num_tiles(max(ranks))
        page, offset = (np.zeros((num_sites, 2, num_groups), np.int64) for _ in range(2))
        gain_page, gain_offset = np.full(num_sites, NO_PAGE), np.zeros(num_sites, np.int64)
        for placed in packing.tiles:
            tile = placed.tile
            if tile.side == GAINS:
                gain_page[tile.site], gain_offset[tile.site] = placed.page, placed.offset
            else:
                place = tile.site, tile.side, tile.group
                page[place], offset[place] = placed.page, placed.offset
        return TilePattern(
            num_pages=packing.num_pages,
            runs=tuple(packing.runs()),
            tile_page=torch.from_numpy(page),
            tile_offset=torch.from_numpy(offset),
            gain_page=torch.from_numpy(gain_page),
            gain_offset=torch.from_numpy(gain_offset),
            rank=torch.tensor(ranks, dtype=torch.int32)[self._module_of_site],
        )


_Key = tuple[Ranks, frozenset[int]]
"""Ranks, and the modules whose outputs are rescaled."""
