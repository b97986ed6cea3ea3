"""The kernels' tables: which adapter, at which pages, each slot means."""

import torch

from motet.engine.plan import AdapterBinding
from motet.kernels import NO_GAIN, LoraTables
from motet.memory.device.tables import NO_PAGE, AdapterTables
from motet.memory.geometry import AdapterGeometry
from motet.memory.layout import TILE_RANKS, num_tiles
from motet.memory.packing import SIDE_A, SIDE_B
from motet.memory.page import PageId


class DeviceSlots:
    """Keeps `tables` in step with the bindings of each plan.

    A slot keeps its rows until it is bound to something else, so only slots that the current plan
    binds may be used.
    """

    def __init__(
        self,
        num_slots: int,
        geometry: AdapterGeometry,
        max_rank: int,
        page_elements: int,
        device: torch.device,
    ) -> None:
        shape = (num_slots, len(geometry.sites))
        groups = num_tiles(max_rank)
        self.tables = LoraTables(
            a_offset=torch.zeros(*shape, groups, dtype=torch.int64, device=device),
            b_offset=torch.zeros(*shape, groups, dtype=torch.int64, device=device),
            rank=torch.zeros(shape, dtype=torch.int32, device=device),
            scale=torch.zeros(shape, dtype=torch.float32, device=device),
            gain_offset=torch.full(shape, NO_GAIN, dtype=torch.int64, device=device),
            tile_ranks=TILE_RANKS,
            tile_width=geometry.tile_width,
        )
        self._page_elements = page_elements
        self._bound: dict[int, tuple[str, tuple[PageId, ...]]] = {}

    def bind(self, binding: AdapterBinding, adapter: AdapterTables) -> None:
        """Point the slot at the adapter's pages; costs nothing when it points there already."""
        content = (binding.digest, binding.pages)
        if self._bound.get(binding.slot) == content:
            return
        pages, pattern = torch.tensor(binding.pages, dtype=torch.int64), adapter.pattern
        offset = pages[pattern.tile_page] * self._page_elements + pattern.tile_offset
        tables, slot = self.tables, binding.slot
        for side, table in ((SIDE_A, tables.a_offset), (SIDE_B, tables.b_offset)):
            table[slot, :, : offset.shape[-1]] = offset[:, side].to(table.device)
        gain_offset = pages[pattern.gain_page] * self._page_elements + pattern.gain_offset
        gain_offset[pattern.gain_page == NO_PAGE] = NO_GAIN
        tables.gain_offset[slot] = gain_offset.to(tables.gain_offset.device)
        tables.rank[slot] = pattern.rank.to(tables.rank.device)
        tables.scale[slot] = adapter.scale.to(tables.scale.device)
        self._bound[slot] = content
