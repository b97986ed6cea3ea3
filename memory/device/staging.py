"""Lays adapters out in the exact bytes of their pages."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from motet.memory.device.base_tensors import BaseTensors
from motet.memory.device.dora import output_gains
from motet.memory.device.pace import Between, go_on
from motet.memory.device.peft import PeftReader
from motet.memory.device.single_thread import clear, copy_rows, is_finite
from motet.memory.device.tables import AdapterTables, TilePatterns
from motet.memory.device.weights import AdapterWeights, too_large
from motet.memory.geometry import AdapterGeometry
from motet.memory.layout import TILE_RANKS, PageLayout
from motet.memory.packing import GAINS, SIDE_A, Run


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

    def read(self, directory: str, between: Between = go_on) -> AdapterWeights:
        """Raises AdapterError."""
        return self._reader.read(directory, between)

    def digest(self, weights: AdapterWeights, between: Between = go_on) -> str:
        return weights.digest(self._base_model_id, self._dtype, between)

    def num_pages(self, weights: AdapterWeights) -> int:
        """Needs no values."""
        return self.patterns.of(weights).num_pages

    def stage(
        self, weights: AdapterWeights, pages: Sequence[Tensor], between: Between = go_on
    ) -> AdapterTables:
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
            between()
            clear(page)  # rows beyond the rank stay zero
        for run in tables.pattern.runs:
            between()
            rows = _rows_of(run, weights, gains)
            target = pages[run.page][run.offset : run.offset + rows.numel()]
            copy_rows(target.view(rows.shape), rows)
        for page in pages:
            between()
            if not is_finite(page):
                raise too_large(weights.source, self._dtype)
        return tables

    def verify(self, weights: AdapterWeights) -> AdapterTables:
        """As `stage`, into memory that is given back. Raises AdapterError."""
        num_pages = self.num_pages(weights)
        scratch = torch.empty(num_pages, self._layout.elements, dtype=self._dtype)
        return self.stage(weights, list(scratch))


def _rows_of(run: Run, weights: AdapterWeights, gains: Mapping[int, Tensor]) -> Tensor:
    """What lies in a run: rank rows, fewer than it has room for at the end of a matrix."""
    site = weights.geometry.sites[run.site]
    if run.side == GAINS:
        return gains[site.module][:, site.outputs.start : site.outputs.stop]
    pair = weights.pairs[site.module]
    matrix, columns = (pair.a, site.inputs) if run.side == SIDE_A else (pair.b.T, site.outputs)
    ranks = slice(run.groups.start * TILE_RANKS, run.groups.stop * TILE_RANKS)
    return matrix[ranks, columns.start : columns.stop]
