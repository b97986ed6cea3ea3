"""Lays adapters out in the exact bytes of their pages."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from motet.memory.device.base_tensors import BaseTensors
from motet.memory.device.dora import output_gains
from motet.memory.device.peft import PeftReader
from motet.memory.device.single_thread import clear, copy_rows, is_finite
from motet.memory.device.tables import AdapterTables, TilePatterns
from motet.memory.device.weights import AdapterWeights, too_large
from motet.memory.geometry import AdapterGeometry
from motet.memory.layout import TILE_RANKS, PageLayout
from motet.memory.packing import GAINS, SIDE_A, Tile


class AdapterStager:
    """Reads adapter directories for one model, and fills pages with them. Any thread may ask."""

    def __init__(
        self,
        geometry: AdapterGeometry,
        layout: PageLayout,
        dtype: torch.dtype,
        base_model_id: str,
        max_rank: int,
        base: BaseTensors,
    ) -> None:
        """DoRA, and copies of the base's tensors, ask `base`."""
        self._layout = layout
        self._dtype = dtype
        self._base_model_id = base_model_id
        self._base = base
        self._reader = PeftReader(geometry, max_rank, base)
        self.patterns = TilePatterns(geometry, layout)

    def header(self, directory: str) -> AdapterWeights:
        """Without values. Raises AdapterError."""
        return self._reader.header(directory)

    def read(self, directory: str) -> AdapterWeights:
        """Raises AdapterError."""
        return self._reader.read(directory)

    def digest(self, weights: AdapterWeights) -> str:
        return weights.digest(self._base_model_id, self._dtype)

    def num_pages(self, weights: AdapterWeights) -> int:
        """Needs no values."""
        return self.patterns.of(weights).num_pages

    def stage(self, weights: AdapterWeights, pages: Sequence[Tensor]) -> AdapterTables:
        """Fill the pages of an adapter, which are as many as `num_pages` says.

        Raises AdapterError, when they are written already, where a weight is too large for the
        engine's dtype.
        """
        tables = self.patterns.tables(weights)
        gains = {
            module: output_gains(weights, module, self._base, self._dtype)
            for module in weights.rescaled
        }
        for page in pages:
            clear(page)  # rows beyond the rank stay zero
        for placed in tables.pattern.packing.tiles:
            rows = _rows_of(placed.tile, weights, gains)
            target = pages[placed.page][placed.offset : placed.offset + rows.numel()]
            copy_rows(target.view(rows.shape), rows)
        if not all(map(is_finite, pages)):
            raise too_large(weights.source, self._dtype)
        return tables

    def verify(self, weights: AdapterWeights) -> AdapterTables:
        """As `stage`, into memory that is given back. Raises AdapterError."""
        num_pages = self.num_pages(weights)
        scratch = torch.empty(num_pages, self._layout.elements, dtype=self._dtype)
        return self.stage(weights, list(scratch))


def _rows_of(tile: Tile, weights: AdapterWeights, gains: Mapping[int, Tensor]) -> Tensor:
    """What lies in a tile: rank rows, fewer than it has room for at the end of a matrix."""
    site = weights.geometry.sites[tile.site]
    if tile.side == GAINS:
        return gains[site.module][:, site.outputs.start : site.outputs.stop]
    pair = weights.pairs[site.module]
    matrix, columns = (pair.a, site.inputs) if tile.side == SIDE_A else (pair.b.T, site.outputs)
    ranks = slice(tile.group * TILE_RANKS, (tile.group + 1) * TILE_RANKS)
    return matrix[ranks, columns.start : columns.stop]
