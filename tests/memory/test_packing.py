"""Tiles neither overlap nor straddle pages, and little room is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.memory.geometry import AdapterGeometry, Module, in_layers
from motet.memory.layout import TILE_RANKS, PageLayout, num_tiles
from motet.memory.packing import Packing, pack


def llama(layers: int, hidden: int, kv: int, inter: int, heads_out: int) -> AdapterGeometry:
    shapes = {
        "q_proj": (hidden, heads_out),
        "k_proj": (hidden, kv),
        "v_proj": (hidden, kv),
        "o_proj": (heads_out, hidden),
        "gate_proj": (hidden, inter),
        "up_proj": (hidden, inter),
        "down_proj": (inter, hidden),
    }
    modules = tuple(Module(name, *shape) for name, shape in shapes.items())
    return AdapterGeometry(in_layers(layers, modules), widest(modules))


def widest(modules: tuple[Module, ...]) -> int:
    return max(max(module.in_features, module.out_features) for module in modules)


# (layers, hidden, KV width, intermediate, q width) as their papers and model cards give them.
PAPER_SHAPES = {
    "Llama-3.2-1B": (16, 2048, 512, 8192, 2048),
    "Llama-3.1-8B": (32, 4096, 1024, 14336, 4096),
    "Llama-3.1-70B": (80, 8192, 1024, 28672, 8192),
    "Llama-2-7B": (32, 4096, 4096, 11008, 4096),
    "Mistral-7B": (32, 4096, 1024, 14336, 4096),
    "Qwen2.5-7B": (28, 3584, 512, 18944, 3584),
    "Qwen3-8B": (36, 4096, 1024, 12288, 4096),
}


def layout_of(geometry: AdapterGeometry) -> PageLayout:
    num_layers = len(geometry.modules) // 7
    return PageLayout(num_layers, 16, geometry.modules[1].out_features // 128, 128, 2)


@pytest.mark.parametrize("name", PAPER_SHAPES)
@given(data=st.data())
def test_packing_wastes_at_most_a_page_or_8_percent(name: str, data: st.DataObject) -> None:
    geometry = llama(*PAPER_SHAPES[name])
    layout = layout_of(geometry)
    rank = data.draw(st.integers(1, 24), label="rank")
    module_ranks = data.draw(
        st.lists(st.sampled_from([0, rank, 2 * rank]), min_size=7, max_size=7), label="ranks"
    )
    ranks = tuple(module_ranks) * (len(geometry.modules) // 7)

    packing = pack(geometry, ranks, layout.elements, layout.align_elements)

    waste = packing.num_pages * layout.elements - sum(t.tile.elements for t in packing.tiles)
    assert waste <= max(layout.elements, 0.08 * packing.num_pages * layout.elements)


@given(
    num_layers=st.integers(1, 3),
    data=st.data(),
    page_tiles=st.integers(1, 5),
)
def test_tiles_never_overlap_or_straddle(
    num_layers: int, data: st.DataObject, page_tiles: int
) -> None:
    geometry = llama(num_layers, 72, 24, 136, 48)
    size = len(geometry.modules)
    ranks = tuple(data.draw(st.lists(st.integers(0, 40), min_size=size, max_size=size)))
    page_elements = TILE_RANKS * geometry.tile_width * page_tiles

    packing = pack(geometry, ranks, page_elements, align=32)

    assert len(packing.tiles) == 2 * sum(map(num_tiles, ranks))
    assert len({placed.tile for placed in packing.tiles}) == len(packing.tiles)
    _check_places(packing, page_elements)
    _check_runs(packing)


def test_a_side_that_fits_a_page_is_one_run() -> None:
    geometry = llama(1, 64, 32, 128, 64)
    packing = pack(geometry, (24,) * 7, TILE_RANKS * geometry.tile_width * 99, align=32)
    assert {run.groups for run in packing.runs()} == {range(3)}
    assert len(list(packing.runs())) == 2 * 7


def test_a_tile_larger_than_a_page_is_refused() -> None:
    geometry = llama(1, 64, 32, 128, 64)
    with pytest.raises(ValueError, match="does not fit a page"):
        pack(geometry, (1,) * 7, TILE_RANKS * geometry.tile_width - 1, align=32)


def _check_places(packing: Packing, page_elements: int) -> None:
    ends: dict[int, int] = {}
    for placed in sorted(packing.tiles, key=lambda placed: (placed.page, placed.offset)):
        assert placed.offset % 32 == 0
        assert placed.offset >= ends.get(placed.page, 0)
        ends[placed.page] = placed.offset + placed.tile.elements
        assert ends[placed.page] <= page_elements
    assert sorted(ends) == list(range(packing.num_pages))


def _check_runs(packing: Packing) -> None:
    """They have all tiles where they are, and go on as long as they can."""
    places = {
        (tile.site, tile.side, tile.group): (placed.page, placed.offset, tile.elements)
        for placed in packing.tiles
        for tile in [placed.tile]
    }
    ends = set()
    for run in packing.runs():
        offset = run.offset
        for group in run.groups:
            page, start, elements = places.pop((run.site, run.side, group))
            assert (page, start) == (run.page, offset)
            offset += elements
        ends.add((run.site, run.side, run.groups.stop, run.page, offset))
    assert not places
    starts = {(r.site, r.side, r.groups.start, r.page, r.offset) for r in packing.runs()}
    assert not ends & starts
