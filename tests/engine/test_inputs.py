"""Step inputs and slot tables: every token row knows its position, its place and its adapter."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from torch import Tensor

from motet.engine.config import BatchConfig
from motet.engine.device.buffers import StepBuffers
from motet.engine.device.slots import DeviceSlots
from motet.engine.models.inputs import StepInputs
from motet.engine.plan import BASE_SLOT, AdapterBinding, Batch, PromptTargets, Row
from motet.engine.request import SamplingParams
from motet.errors import BrokenInvariant
from motet.kernels import CHUNK_ROWS
from motet.memory.device.arena import Arena
from motet.memory.device.staging import AdapterStager
from motet.memory.device.tables import AdapterTables
from motet.memory.layout import TILE_RANKS, PageLayout
from motet.memory.page import PageId
from tests.adapter_factory import ADAPTER_KINDS, NO_TENSORS, geometry_of, save_adapter, tiny_llama

PAGE_TOKENS = 4
CPU = torch.device("cpu")
LAYOUT = PageLayout(num_layers=3, page_tokens=16, num_kv_heads=2, head_dim=16, element_bytes=4)
GEOMETRY = geometry_of(tiny_llama().config)


def a_row(
    num_tokens: int = 1, start: int = 0, slot: int = BASE_SLOT, samples: bool = True, page: int = 10
) -> Row:
    """Its pages are `page`, `page + 1`, ...; its tokens are 100 + position."""
    num_pages = -(-(start + num_tokens) // PAGE_TOKENS)
    return Row(
        request_id=f"r{page}",
        tokens=tuple(range(100 + start, 100 + start + num_tokens)),
        start=start,
        pages=tuple(PageId(page + i) for i in range(num_pages)),
        slot=slot,
        sampling=SamplingParams(1) if samples else None,
        num_generated=0,
    )


def inputs_of(*rows: Row) -> StepInputs:
    slots = sorted({row.slot for row in rows} - {BASE_SLOT})
    bindings = tuple(AdapterBinding(slot, f"digest-{slot}", ()) for slot in slots)
    return some_buffers().fill(Batch(1, rows, bindings))


def some_buffers() -> StepBuffers:
    return StepBuffers(BatchConfig(max_batch_tokens=512), 64, PAGE_TOKENS, CPU)


def test_rows_lie_one_after_another() -> None:
    inputs = inputs_of(a_row(3, start=2, page=10), a_row(1, start=8, page=20))

    assert inputs.token_ids.tolist() == [102, 103, 104, 108]
    assert inputs.positions.tolist() == [2, 3, 4, 8]
    assert inputs.attention.query_start.tolist() == [0, 3, 4]
    assert inputs.attention.context_len.tolist() == [5, 9]
    assert inputs.attention.page_table.tolist() == [[10, 11, 0], [20, 21, 22]]
    assert inputs.attention.max_query_len == 3


def test_every_token_is_written_to_its_place_in_its_page() -> None:
    inputs = inputs_of(a_row(3, start=2, page=10), a_row(1, start=8, page=20))
    places = [(10, 2), (10, 3), (11, 0), (22, 0)]
    assert inputs.attention.kv_index.tolist() == [p * PAGE_TOKENS + offset for p, offset in places]


def test_only_rows_that_sample_have_logits() -> None:
    inputs = inputs_of(a_row(3), a_row(2, samples=False), a_row(1))
    assert inputs.sample_index.tolist() == [2, 5]


def test_scored_positions_come_after_those_that_sample_each_before_its_target() -> None:
    def scored(row: Row, start: int, num_targets: int) -> Row:
        return replace(row, targets=PromptTargets(start, (7,) * num_targets, 0))

    chunk = scored(a_row(4, start=4, samples=False), start=5, num_targets=4)
    resumed = scored(a_row(5, start=0, samples=False), start=4, num_targets=2)
    last = scored(a_row(3), start=1, num_targets=2)
    inputs = inputs_of(a_row(1), chunk, resumed, last)
    assert inputs.sample_index.tolist() == [0, 12, 1, 2, 3, 4, 8, 9, 10, 11]


def test_base_rows_alone_have_no_adapters_to_compute() -> None:
    assert inputs_of(a_row(3), a_row(1)).lora is None


def test_a_row_on_a_slot_that_the_batch_does_not_bind_is_refused() -> None:
    with pytest.raises(BrokenInvariant, match="slot 2"):
        some_buffers().fill(Batch(1, (a_row(slot=2),), ()))


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(BASE_SLOT, 3)), min_size=1, max_size=9))
def test_chunks_cover_each_adapter_row_once_and_hold_one_slot(shape: list[tuple[int, int]]) -> None:
    rows = [a_row(num_tokens, slot=slot) for num_tokens, slot in shape]
    slot_of_token = [row.slot for row in rows for _ in row.tokens]
    on_adapters = [i for i, slot in enumerate(slot_of_token) if slot != BASE_SLOT]

    lora = inputs_of(*rows).lora

    if lora is None:
        assert not on_adapters
        return
    row_index = lora.row_index.tolist()
    assert sorted(row_index) == on_adapters
    covered: list[int] = []
    for slot, start, length in zip(
        lora.chunk_slot.tolist(), lora.chunk_start.tolist(), lora.chunk_len.tolist(), strict=True
    ):
        assert 1 <= length <= CHUNK_ROWS
        chunk = row_index[start : start + length]
        assert {slot_of_token[row] for row in chunk} == {slot}
        assert chunk == sorted(chunk)
        covered += chunk
    assert covered == row_index
    assert lora.num_chunks.tolist() == [len(lora.chunk_slot)]


@dataclass(frozen=True, slots=True)
class Image:
    """An adapter as it lies on the host."""

    pages: Tensor
    tables: AdapterTables


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    stager = AdapterStager(GEOMETRY, LAYOUT, torch.float32, "base", 64, NO_TENSORS)
    images = {}
    for kind in ("patterns", "query-value"):
        directory = save_adapter(
            tiny_llama(), Path(tmp_path_factory.mktemp(kind)), ADAPTER_KINDS[kind]
        )
        weights = stager.read(str(directory))
        pages = torch.empty(stager.num_pages(weights), LAYOUT.elements)
        images[kind] = Image(pages, stager.stage(weights, list(pages)))
    return images


def some_slots() -> DeviceSlots:
    return DeviceSlots(2, GEOMETRY, max_rank=64, page_elements=LAYOUT.elements, device=CPU)


def tile_tables(slots: DeviceSlots) -> tuple[Tensor, Tensor]:
    """Of A and B."""
    return slots.tables.a_offset, slots.tables.b_offset


def a_binding(digest: str, image: Image, slot: int = 1, first: int = 3) -> AdapterBinding:
    """The pages lie backwards in the arena."""
    pages = [PageId(first + i) for i in reversed(range(len(image.pages)))]
    return AdapterBinding(slot, digest, tuple(pages))


def test_tables_of_a_bound_slot_lead_to_the_tiles_in_the_arena(
    images: dict[str, Image],
) -> None:
    image, slots = images["patterns"], some_slots()
    binding = a_binding("patterns", image)
    arena = Arena(LAYOUT, 3 + len(image.pages), torch.float32, CPU)
    arena.pages[list(binding.pages)] = image.pages

    slots.bind(binding, image.tables)

    pattern = image.tables.pattern
    assert torch.equal(slots.tables.rank[1], pattern.rank)
    assert torch.equal(slots.tables.scale[1], image.tables.scale)
    for [site] in pattern.rank.nonzero().tolist():
        for side, (offset_of, width) in enumerate(
            zip(tile_tables(slots), _widths(site), strict=True)
        ):
            for group in range(-(-int(pattern.rank[site]) // TILE_RANKS)):
                at = (site, side, group)
                start, size = int(offset_of[1, site, group]), TILE_RANKS * width
                page, offset = int(pattern.tile_page[at]), int(pattern.tile_offset[at])
                expected = image.pages[page, offset : offset + size]
                assert torch.equal(arena.flat[start : start + size], expected)


def _widths(module: int) -> tuple[int, int]:
    shape = GEOMETRY.modules[module]
    return shape.in_features, shape.out_features


def test_rebinding_a_slot_leaves_nothing_of_the_adapter_before(
    images: dict[str, Image],
) -> None:
    slots, fresh = some_slots(), some_slots()
    binding = a_binding("query-value", images["query-value"])
    slots.bind(a_binding("patterns", images["patterns"]), images["patterns"].tables)

    slots.bind(binding, images["query-value"].tables)
    fresh.bind(binding, images["query-value"].tables)

    assert torch.equal(slots.tables.rank, fresh.tables.rank)
    assert torch.equal(slots.tables.scale, fresh.tables.scale)


def test_the_same_adapter_at_other_pages_is_bound_anew(images: dict[str, Image]) -> None:
    image, slots = images["patterns"], some_slots()
    slots.bind(a_binding("patterns", image, first=3), image.tables)
    before = [table[1].clone() for table in tile_tables(slots)]

    slots.bind(a_binding("patterns", image, first=4), image.tables)

    groups = image.tables.pattern.tile_page.shape[-1]
    for table, old in zip(tile_tables(slots), before, strict=True):
        assert (table[1, :, :groups] - old[:, :groups] == LAYOUT.elements).all()


def test_binding_one_slot_leaves_the_others(images: dict[str, Image]) -> None:
    slots = some_slots()
    slots.bind(a_binding("patterns", images["patterns"], slot=1), images["patterns"].tables)
    assert not slots.tables.rank[0].any()
