"""Shapes of what a page can hold: the KV of some tokens, or tiles of adapters."""

from dataclasses import dataclass

TILE_RANKS = 8
"""Ranks per tile: the unit in which adapters are stored and the only padding they get."""

TILE_ALIGN_BYTES = 128
"""Every tile starts on such a boundary, so that kernels can load whole cache lines."""


@dataclass(frozen=True, slots=True)
class PageLayout:
    """One page: K and V of `page_tokens` tokens over all layers.

    ```
    page = [num_layers, 2 (K, V), page_tokens, num_kv_heads, head_dim]
    ```
    """

    num_layers: int
    page_tokens: int
    num_kv_heads: int
    head_dim: int
    element_bytes: int

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        return (self.num_layers, 2, self.page_tokens, self.num_kv_heads, self.head_dim)

    @property
    def elements(self) -> int:
        return self.num_layers * 2 * self.page_tokens * self.num_kv_heads * self.head_dim

    @property
    def page_bytes(self) -> int:
        return self.elements * self.element_bytes

    @property
    def align_elements(self) -> int:
        return TILE_ALIGN_BYTES // self.element_bytes

    @property
    def tile_width(self) -> int:
        """Columns of the widest tile that fits a page."""
        return self.elements // self.align_elements * self.align_elements // TILE_RANKS


def num_tiles(rank: int) -> int:
    """Tiles per side that a matrix of this rank takes."""
    return -(-rank // TILE_RANKS)
