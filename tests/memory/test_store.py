"""Host images: what the tile tables lead to is exactly the padded A and B."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from motet.errors import AdapterError
from motet.memory.device.arena import Arena
from motet.memory.device.base_tensors import BaseTensors
from motet.memory.device.peft import read_adapter
from motet.memory.device.store import HostImage, HostStore
from motet.memory.device.weights import AdapterWeights, LoraPair
from motet.memory.geometry import AdapterGeometry, Module, in_layers
from motet.memory.layout import TILE_RANKS, PageLayout
from motet.memory.page import PageId
from tests.adapter_factory import (
    ADAPTER_KINDS,
    NO_TENSORS,
    SomeTensors,
    geometry_of,
    save_adapter,
    tiny_llama,
)

GEOMETRY = AdapterGeometry(in_layers(2, (Module("up", 24, 40), Module("down", 40, 24))), 40)


def a_store(
    geometry: AdapterGeometry = GEOMETRY,
    dtype: torch.dtype = torch.float32,
    base: BaseTensors = NO_TENSORS,
) -> HostStore:
    layout = PageLayout(2, 16, 2, 16, dtype.itemsize)
    return HostStore(geometry, layout, dtype, "base", base, pin_memory=False)


def some_weights(
    rank: int = 11, scale: float = 0.5, size: float = 1.0, source: str = "a"
) -> AdapterWeights:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(rank, 24, generator=generator) * size
    b = torch.randn(40, rank, generator=generator)
    return AdapterWeights(source, GEOMETRY, {2: LoraPair(a, b, scale)})


def rank_rows(image: HostImage, site: int, side: int, width: int) -> Tensor:
    """Every rank row of one side, padding included, found through the tables alone."""
    rank = int(image.rank[site])
    tiles = []
    for group in range(-(-rank // TILE_RANKS)):
        page = image.pages[image.tile_page[site, side, group]]
        start = int(image.tile_offset[site, side, group])
        tiles.append(page[start : start + TILE_RANKS * width].view(TILE_RANKS, width))
    return torch.cat(tiles)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ADAPTER_KINDS)
def test_image_read_through_its_tables_is_a_and_b_padded_with_zeros(
    kind: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    model = tiny_llama()
    geometry = geometry_of(model.config)
    save_adapter(model, tmp_path, ADAPTER_KINDS[kind])
    base = SomeTensors(model.state_dict())
    weights = read_adapter(str(tmp_path), geometry, 256, base)

    store = a_store(geometry, dtype, base)
    image = store[store.stage(weights)]

    scales = torch.tensor(weights.scales)
    for index, site in enumerate(geometry.sites):
        assert image.rank[index] == weights.ranks[site.module]
        assert image.scale[index] == scales[site.module]
        if site.module in weights.pairs:
            pair = weights.pairs[site.module]
            sides = (pair.a, site.inputs), (pair.b.T, site.outputs)
            for side, (matrix, columns) in enumerate(sides):
                expected = matrix[:, columns.start : columns.stop].to(dtype)
                rows = rank_rows(image, index, side, len(columns))
                assert torch.equal(rows[: pair.rank], expected)
                assert not rows[pair.rank :].any()


def test_equal_contents_share_one_image() -> None:
    store = a_store()
    first = store.stage(some_weights(source="one"))
    assert store.stage(some_weights(source="two")) == first
    assert len(store) == 1


def test_another_scale_is_another_image() -> None:
    store = a_store()
    assert store.stage(some_weights(scale=0.5)) != store.stage(some_weights(scale=0.25))
    assert len(store) == 2


def test_a_weight_that_overflows_the_dtype_is_refused_and_leaves_no_image() -> None:
    store = a_store(dtype=torch.float16)
    with pytest.raises(AdapterError, match=r"adapter 'big'.*float16"):
        store.stage(some_weights(size=1e6, source="big"))
    assert len(store) == 0


def test_views_of_the_arena_share_its_memory() -> None:
    layout = PageLayout(num_layers=2, page_tokens=4, num_kv_heads=2, head_dim=8, element_bytes=4)
    arena = Arena(layout, 3, torch.float32, torch.device("cpu"))
    arena.kv[1, 0, 0, 0, 0, 0] = 7
    assert arena.pages[1, 0] == arena.flat[layout.elements] == 7


def test_poison_fills_exactly_the_pages_named() -> None:
    layout = PageLayout(num_layers=1, page_tokens=4, num_kv_heads=1, head_dim=8, element_bytes=4)
    arena = Arena(layout, 4, torch.float32, torch.device("cpu"))
    arena.flat.zero_()
    arena.poison([PageId(1), PageId(3)])
    assert arena.pages.isnan().all(dim=1).tolist() == [False, True, False, True]
    assert not arena.pages[[0, 2]].isnan().any()
    arena.poison([])
