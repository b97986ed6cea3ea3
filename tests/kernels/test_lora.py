"""LoRA kernels on adapters in real pages, against dense products."""

import pytest
import torch
from torch import Tensor

from motet.kernels import CHUNK_ROWS, LoraBatch
from tests.kernels.arena import (
    GEOMETRY,
    MODULES,
    Arena,
    DenseAdapter,
    a_layout,
    an_adapter,
    same_rank,
)
from tests.kernels.batches import BASE, LAYER, a_lora_batch
from tests.kernels.target import TOLERANCE, Target, assert_near, bits

GROUP = "lora"

FUSED = {"qkv": (0, 3), "o": (3, 1), "gate_up": (4, 2), "down": (6, 1)}
"""First module of the layer and number of slices of each launch."""

FIRST_SITE = LAYER * len(MODULES)

SUM_TOLERANCE = 1e-5
"""Of sums that stay fp32, whatever the dtype of the factors."""


def out_starts(module: int, num_slices: int) -> tuple[int, ...]:
    starts = [0]
    for shape in GEOMETRY.modules[module : module + num_slices]:
        starts.append(starts[-1] + shape.out_features)
    return tuple(starts)


def shrink(target: Target, arena: Arena, x: Tensor, batch: LoraBatch, fused: str) -> Tensor:
    module, num_slices = FUSED[fused]
    max_rank = int(arena.tables.rank.max())
    num_rows = batch.row_index.shape[0]
    shrunk = torch.full((num_slices, num_rows, max_rank), torch.nan, device=target.device)
    target.kernels.lora_shrink(shrunk, x, arena.memory, arena.tables, batch, FIRST_SITE + module)
    return shrunk


def add_lora(
    target: Target, arena: Arena, y: Tensor, x: Tensor, batch: LoraBatch, fused: str
) -> None:
    shrunk = shrink(target, arena, x, batch, fused)
    module, num_slices = FUSED[fused]
    target.kernels.lora_expand(
        y, shrunk, arena.memory, arena.tables, batch, FIRST_SITE + module,
        out_starts(module, num_slices),
    )  # fmt: skip


def dense(
    y: Tensor, x: Tensor, slots: list[int], adapters: dict[int, DenseAdapter], fused: str
) -> Tensor:
    """The same in float64, one row and one module after the other."""
    module, num_slices = FUSED[fused]
    starts = out_starts(module, num_slices)
    result = y.double()
    for row, slot in enumerate(slots):
        for s in range(num_slices if slot != BASE else 0):
            adapter, at = adapters[slot], FIRST_SITE + module + s
            shrunk = adapter.scale[at] * (adapter.a[at].double() @ x[row].double())
            value = result[row, starts[s] : starts[s + 1]]
            value += adapter.b[at].double() @ shrunk
            if at in adapter.gains and adapter.ranks[at]:
                gain, shift = adapter.gains[at].double()
                value.mul_(gain).add_(shift)
    return result


def check_against_dense(
    target: Target, slots: list[int], adapters: dict[int, DenseAdapter], fused: str = "qkv"
) -> None:
    arena = Arena(target, a_layout(target), num_pages=200)
    for slot, adapter in adapters.items():
        arena.load(slot, adapter)
    module, num_slices = FUSED[fused]
    x = target.randn(len(slots), GEOMETRY.modules[module].in_features)
    y = target.randn(len(slots), out_starts(module, num_slices)[-1])
    expected = dense(y, x, slots, adapters, fused)

    add_lora(target, arena, y, x, a_lora_batch(target, slots), fused)

    assert_near(y, expected, TOLERANCE[target.dtype])


@pytest.mark.parametrize("fused", FUSED)
def test_mixed_ranks_and_base_rows_equal_dense_products(target: Target, fused: str) -> None:
    ranks = {0: 1, 3: 8, 4: 13, 9: 32}
    adapters = {slot: an_adapter(target, same_rank(rank)) for slot, rank in ranks.items()}

    check_against_dense(target, [3, BASE, 9, 0, 3, 4, BASE, 0, 9], adapters, fused)


@pytest.mark.parametrize("fused", FUSED)
def test_outputs_with_gains_are_rescaled_after_the_sum(target: Target, fused: str) -> None:
    modules = range(FIRST_SITE, FIRST_SITE + len(MODULES))
    adapters = {
        0: an_adapter(target, same_rank(5), rescaled=modules),
        1: an_adapter(target, same_rank(9)),
        2: an_adapter(target, same_rank(16), rescaled=modules[::2]),
    }

    check_against_dense(target, [2, BASE, 1, 0, 0, 2], adapters, fused)


def test_an_adapter_of_the_largest_rank_equals_dense_products(target: Target) -> None:
    adapters = {2: an_adapter(target, same_rank(256)), 1: an_adapter(target, same_rank(2))}

    check_against_dense(target, [1, 2, 2, BASE], adapters)


def test_more_rows_than_a_chunk_equal_dense_products(target: Target) -> None:
    adapters = {0: an_adapter(target, same_rank(8)), 1: an_adapter(target, same_rank(20))}

    check_against_dense(target, [1] * (2 * CHUNK_ROWS + 5) + [BASE] + [0] * CHUNK_ROWS, adapters)


def test_ranks_differ_by_module_and_rank_zero_adds_nothing(target: Target) -> None:
    q_and_v_only = an_adapter(target, (5, 0, 0, 0, 0, 0, 0, 9, 0, 24, 0, 0, 0, 0, 0, 0))
    other_layer_only = an_adapter(target, (4,) * 7 + (0,) * 9)

    check_against_dense(target, [0, 1, 0, BASE], {0: q_and_v_only, 1: other_layer_only})


def test_one_row_alone_equals_dense_products(target: Target) -> None:
    check_against_dense(target, [5], {5: an_adapter(target, same_rank(3))})


def test_shrink_sums_in_fp32_whatever_the_dtype(target: Target) -> None:
    arena = Arena(target, a_layout(target), num_pages=40)
    adapter = an_adapter(target, same_rank(11))
    arena.load(0, adapter)
    x = target.randn(3, 72)

    shrunk = shrink(target, arena, x, a_lora_batch(target, [0, 0, 0]), "qkv")

    for module in range(3):
        at = FIRST_SITE + module
        expected = adapter.scale[at] * (x.double() @ adapter.a[at].double().T)
        assert_near(shrunk[module, :, :11], expected, SUM_TOLERANCE)


def test_only_rows_and_columns_of_adapters_are_written(target: Target) -> None:
    arena = Arena(target, a_layout(target), num_pages=40)
    arena.load(0, an_adapter(target, (0,) * 7 + (7, 0, 7, 0, 0, 0, 0, 0, 0)))
    x, y = target.randn(4, 72), target.randn(4, 144)
    before, memory = bits(y), bits(arena.memory)

    add_lora(target, arena, y, x, a_lora_batch(target, [BASE, 0, BASE, 0]), "qkv")

    k_columns = slice(96, 120)
    was = before.view(y.dtype).view_as(y)
    assert torch.equal(y[[0, 2]], was[[0, 2]])
    assert torch.equal(y[:, k_columns], was[:, k_columns])
    assert not torch.equal(y[[1, 3]], was[[1, 3]])
    assert torch.equal(bits(arena.memory), memory)


def test_a_batch_without_lora_rows_changes_nothing(target: Target) -> None:
    arena = Arena(target, a_layout(target), num_pages=40)
    arena.load(0, an_adapter(target, same_rank(8)))
    x, y = target.randn(2, 72), target.randn(2, 144)
    before = y.clone()

    add_lora(target, arena, y, x, a_lora_batch(target, [BASE, BASE]), "qkv")
    add_lora(target, arena, y[:0], x[:0], a_lora_batch(target, []), "qkv")

    assert torch.equal(y, before)


def test_an_adapter_in_pages_of_a_released_one_is_read_alone(target: Target) -> None:
    arena = Arena(target, a_layout(target), num_pages=32)
    first = arena.load(0, an_adapter(target, same_rank(48)))
    arena.pool.release(first)
    adapter = an_adapter(target, same_rank(9))
    second = arena.load(0, adapter)
    assert set(first.pages) & set(second.pages)
    x, y = target.randn(2, 72), target.randn(2, 144)
    expected = dense(y, x, [0, 0], {0: adapter}, "qkv")

    add_lora(target, arena, y, x, a_lora_batch(target, [0, 0]), "qkv")

    assert_near(y, expected, TOLERANCE[target.dtype])


def test_what_is_shrunk_may_be_part_of_a_larger_buffer(target: Target) -> None:
    arena = Arena(target, a_layout(target), num_pages=40)
    adapter = an_adapter(target, same_rank(10))
    arena.load(0, adapter)
    x, y = target.randn(3, 72), target.randn(3, 400)
    expected = dense(y, x, [0, 0, 0], {0: adapter}, "gate_up")
    buffer = torch.full((3, 50, 64), torch.nan, device=target.device)
    shrunk, batch = buffer[:2, :3], a_lora_batch(target, [0, 0, 0])

    target.kernels.lora_shrink(shrunk, x, arena.memory, arena.tables, batch, FIRST_SITE + 4)
    target.kernels.lora_expand(
        y, shrunk, arena.memory, arena.tables, batch, FIRST_SITE + 4, out_starts(4, 2)
    )

    assert_near(y, expected, TOLERANCE[target.dtype])
    assert buffer[2].isnan().all()
    assert buffer[:, 3:].isnan().all()
