"""Where each tile of an adapter lies in the adapter's pages.

A pure function of geometry and ranks, so the host image and the device tables agree without
talking to each other. Tiles go largest first into the first page with room (first-fit decreasing).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import groupby

from motet.memory.geometry import AdapterGeometry
from motet.memory.layout import TILE_RANKS, num_tiles

SIDE_A, SIDE_B = 0, 1
GAINS = 2
"""In place of a side: not ranks but the gains and shifts of the outputs."""

Ranks = tuple[int, ...]
"""Of each module, 0 where the adapter does not touch it."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Eight rank rows of one side: A `[8, in_features]` or B transposed `[8, out_features]`.

    Or the gains and shifts `[2, out_features]` of outputs that are rescaled.
    """

    site: int
    side: int
    group: int
    elements: int


@dataclass(frozen=True, slots=True)
class PlacedTile:
    """A tile and its place: element `offset` of the adapter's page number `page`."""

    tile: Tile
    page: int
    offset: int


@dataclass(frozen=True, slots=True)
class Run:
    """Tiles of one side that lie one after the other, as many as there are in groups."""

    site: int
    side: int
    groups: range
    page: int
    offset: int


@dataclass(frozen=True, slots=True)
class Packing:
    num_pages: int
    tiles: tuple[PlacedTile, ...]

    def runs(self) -> Iterator[Run]:
        """All tiles, in as few pieces as there are."""
        first = last = None
        for placed in self.tiles:
            if first and last and not _follows(placed, last):
                yield _run(first, last)
                first = None
            first, last = first or placed, placed
        if first and last:
            yield _run(first, last)


def pack(
    geometry: AdapterGeometry,
    ranks: Ranks,
    page_elements: int,
    align: int,
    rescaled: Collection[int] = (),
) -> Packing:
    """Place every tile; offsets are multiples of `align` and no tile straddles a page.

    `rescaled` are the modules whose outputs have gains. Raises ValueError when a tile is larger
    than a page.
    """
    used: list[int] = []  # elements taken in each page
    placed: list[PlacedTile] = []
    tiles = sorted(_tiles(geometry, ranks, rescaled), key=lambda tile: -tile.elements)
    for elements, same_size in groupby(tiles, key=lambda tile: tile.elements):
        size = -(-elements // align) * align
        if size > page_elements:
            raise ValueError(f"a tile of {size} elements does not fit a page of {page_elements}")
        page = 0  # pages before this one have no room for tiles of this size
        for tile in same_size:
            while page < len(used) and used[page] + size > page_elements:
                page += 1
            if page == len(used):
                used.append(0)
            placed.append(PlacedTile(tile, page, used[page]))
            used[page] += size
    return Packing(len(used), tuple(placed))


def _tiles(geometry: AdapterGeometry, ranks: Ranks, rescaled: Collection[int]) -> Iterator[Tile]:
    for index, site in enumerate(geometry.sites):
        for side, columns in ((SIDE_A, site.inputs), (SIDE_B, site.outputs)):
            for group in range(num_tiles(ranks[site.module]) if columns else 0):
                yield Tile(index, side, group, TILE_RANKS * len(columns))
        if site.module in rescaled and site.outputs:
            yield Tile(index, GAINS, 0, 2 * len(site.outputs))


def _follows(placed: PlacedTile, last: PlacedTile) -> bool:
    """Whether it goes on where the last one ends, with the next ranks of the same side."""
    tile, before = placed.tile, last.tile
    return (tile.site, tile.side, tile.group) == (before.site, before.side, before.group + 1) and (
        placed.page,
        placed.offset,
    ) == (last.page, last.offset + before.elements)


def _run(first: PlacedTile, last: PlacedTile) -> Run:
    tile = first.tile
    groups = range(tile.group, last.tile.group + 1)
    return Run(tile.site, tile.side, groups, first.page, first.offset)
