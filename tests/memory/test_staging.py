"""Staged adapters: what the tile tables lead to is exactly the padded A and B."""

import weakref
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from motet.errors import AdapterError
from motet.memory.device.base_tensors import BaseTensors
from motet.memory.device.peft import read_adapter
from motet.memory.device.staging import AdapterStager
from motet.memory.device.tables import AdapterTables
from motet.memory.device.weights import AdapterWeights, LoraPair
from motet.memory.geometry import AdapterGeometry, Module, in_layers
from motet.memory.layout import TILE_RANKS, PageLayout
from tests.adapter_factory import (
    ADAPTER_KINDS,
    NO_TENSORS,
    SomeTensors,
    geometry_of,
    save_adapter,
    tiny_llama,
)

GEOMETRY = AdapterGeometry(in_layers(2, (Module("up", 24, 40), Module("down", 40, 24))), 40)


def a_stager(
    geometry: AdapterGeometry = GEOMETRY,
    dtype: torch.dtype = torch.float32,
    base: BaseTensors = NO_TENSORS,
) -> AdapterStager:
    layout = PageLayout(2, 16, 2, 16, dtype.itemsize)
    return AdapterStager(geometry, layout, dtype, "base", 256, base)


@dataclass(frozen=True, slots=True)
class Staged:
    pages: Tensor
    tables: AdapterTables


def staged(stager: AdapterStager, weights: AdapterWeights, dtype: torch.dtype) -> Staged:
    """In pages that held something else before."""
    elements = PageLayout(2, 16, 2, 16, dtype.itemsize).elements
    pages = torch.full((stager.num_pages(weights), elements), torch.nan, dtype=dtype)
    return Staged(pages, stager.stage(weights, list(pages)))


def some_weights(
    rank: int = 11, scale: float = 0.5, size: float = 1.0, source: str = "a"
) -> AdapterWeights:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(rank, 24, generator=generator) * size
    b = torch.randn(40, rank, generator=generator)
    return AdapterWeights(source, GEOMETRY, {2: LoraPair(a, b, scale)})


def rank_rows(staged: Staged, site: int, side: int, width: int) -> Tensor:
    """Every rank row of one side, padding included, found through the tables alone."""
    pattern = staged.tables.pattern
    rank = int(pattern.rank[site])
    tiles = []
    for group in range(-(-rank // TILE_RANKS)):
        page = staged.pages[pattern.tile_page[site, side, group]]
        start = int(pattern.tile_offset[site, side, group])
        tiles.append(page[start : start + TILE_RANKS * width].view(TILE_RANKS, width))
    return torch.cat(tiles)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ADAPTER_KINDS)
def test_pages_read_through_the_tables_are_a_and_b_padded_with_zeros(
    kind: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    model = tiny_llama()
    geometry = geometry_of(model.config)
    save_adapter(model, tmp_path, ADAPTER_KINDS[kind])
    base = SomeTensors(model.state_dict())
    weights = read_adapter(str(tmp_path), geometry, 256, base)

    adapter = staged(a_stager(geometry, dtype, base), weights, dtype)

    scales = torch.tensor(weights.scales)
    for index, site in enumerate(geometry.sites):
        assert adapter.tables.pattern.rank[index] == weights.ranks[site.module]
        assert adapter.tables.scale[index] == scales[site.module]
        if site.module in weights.pairs:
            pair = weights.pairs[site.module]
            sides = (pair.a, site.inputs), (pair.b.T, site.outputs)
            for side, (matrix, columns) in enumerate(sides):
                expected = matrix[:, columns.start : columns.stop].to(dtype)
                rows = rank_rows(adapter, index, side, len(columns))
                assert torch.equal(rows[: pair.rank], expected)
                assert not rows[pair.rank :].any()


def test_a_weight_that_overflows_the_dtype_is_refused() -> None:
    stager = a_stager(dtype=torch.float16)
    with pytest.raises(AdapterError, match=r"adapter 'big'.*float16"):
        staged(stager, some_weights(size=1e6, source="big"), torch.float16)
    with pytest.raises(AdapterError, match=r"adapter 'big'.*float16"):
        stager.verify(some_weights(size=1e6, source="big"))


def test_adapters_of_the_same_ranks_share_their_pattern_and_have_their_own_scales() -> None:
    stager = a_stager()
    one, other = (stager.verify(some_weights(scale=scale)) for scale in (0.5, 0.25))
    assert one.pattern is other.pattern
    assert [float(adapter.scale.max()) for adapter in (one, other)] == [0.5, 0.25]
    assert stager.verify(some_weights(rank=12)).pattern is not one.pattern


def test_a_pattern_goes_with_the_last_adapter_that_has_it() -> None:
    stager = a_stager()
    adapters = [stager.verify(some_weights(scale=scale)) for scale in (0.5, 0.25)]
    pattern = weakref.ref(adapters[0].pattern)
    packing = weakref.ref(adapters[0].pattern.tile_page)
    adapters.pop()
    assert pattern() is not None and len(stager.patterns) == 1
    adapters.pop()
    assert pattern() is None and packing() is None and len(stager.patterns) == 0


def test_the_number_of_pages_is_known_without_a_value(tmp_path: Path) -> None:
    model = tiny_llama()
    geometry = geometry_of(model.config)
    directory = str(save_adapter(model, tmp_path, ADAPTER_KINDS["patterns"]))
    stager = a_stager(geometry)
    header, weights = stager.header(directory), stager.read(directory)
    assert all(pair.a.is_meta for pair in header.pairs.values())
    assert stager.num_pages(header) == stager.verify(weights).pattern.num_pages
    assert len(stager.patterns) == 0
