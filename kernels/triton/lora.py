"""LoRA for rows of many adapters at once (SGMV, Punica, arXiv:2310.18547), untuned.

A program works on one chunk: at most CHUNK_ROWS rows, all of one adapter. It finds tiles through
the tables, so where a tile lies in the arena does not matter. Columns at or beyond the rank are
never read: a padded tile may hold anything there.
"""

from itertools import pairwise

import triton
import triton.language as tl
from torch import Tensor

from motet.kernels import CHUNK_ROWS, NO_GAIN, LoraBatch, LoraTables
from motet.kernels.triton.dot import dot

BLOCK_RANK = 16  # the least N of a tensor-core product: two tiles
BLOCK_IN = 128
BLOCK_OUT = 128


def lora_shrink(
    shrunk: Tensor, x: Tensor, arena: Tensor, tables: LoraTables, batch: LoraBatch,
    site: int,
) -> None:  # fmt: skip
    num_slices, _, max_rank = shrunk.shape
    tile_offset = tables.a_offset[:, site:]  # [slots, sites, groups]
    rank = tables.rank[:, site:]  # [slots, sites]
    scale = tables.scale[:, site:]
    max_chunks = batch.chunk_slot.shape[0]
    grid = (max_chunks, triton.cdiv(max_rank, BLOCK_RANK), num_slices)
    _shrink_kernel[grid](
        shrunk, x, arena, tile_offset, rank, scale,
        batch.row_index, batch.chunk_slot, batch.chunk_start, batch.chunk_len, batch.num_chunks,
        x.shape[1], shrunk.stride(0), shrunk.stride(1), x.stride(0),
        tile_offset.stride(0), tile_offset.stride(1), rank.stride(0), scale.stride(0),
        BLOCK_ROWS=CHUNK_ROWS, BLOCK_RANK=BLOCK_RANK, BLOCK_IN=BLOCK_IN,
        TILE_RANKS=tables.tile_ranks, enable_fp_fusion=True,
    )  # fmt: skip


def lora_embed(
    shrunk: Tensor, token_ids: Tensor, arena: Tensor, tables: LoraTables, batch: LoraBatch,
    site: int, num_inputs: int,
) -> None:  # fmt: skip
    tile_offset = tables.a_offset[:, site:]
    rank, scale = tables.rank[:, site:], tables.scale[:, site:]
    grid = (batch.chunk_slot.shape[0], triton.cdiv(shrunk.shape[2], BLOCK_RANK))
    _embed_kernel[grid](
        shrunk, token_ids, arena, tile_offset, rank, scale,
        batch.row_index, batch.chunk_slot, batch.chunk_start, batch.chunk_len, batch.num_chunks,
        num_inputs, tables.tile_width, shrunk.stride(1),
        tile_offset.stride(0), tile_offset.stride(1), rank.stride(0), scale.stride(0),
        BLOCK_ROWS=CHUNK_ROWS, BLOCK_RANK=BLOCK_RANK, TILE_RANKS=tables.tile_ranks,
        enable_fp_fusion=True,
    )  # fmt: skip


def lora_expand(
    y: Tensor, shrunk: Tensor, arena: Tensor, tables: LoraTables, batch: LoraBatch,
    site: int, out_start: tuple[int, ...],
) -> None:  # fmt: skip
    tile_offset = tables.b_offset[:, site:]
    rank, gain_offset = tables.rank[:, site:], tables.gain_offset[:, site:]
    max_chunks, num_slices = batch.chunk_slot.shape[0], len(out_start) - 1
    widest = max(stop - start for start, stop in pairwise(out_start))
    grid = (max_chunks, triton.cdiv(widest, BLOCK_OUT), num_slices)
    _expand_kernel[grid](
        y, shrunk, arena, tile_offset, rank, gain_offset,
        batch.row_index, batch.chunk_slot, batch.chunk_start, batch.chunk_len, batch.num_chunks,
        y.stride(0), shrunk.stride(0), shrunk.stride(1),
        tile_offset.stride(0), tile_offset.stride(1), rank.stride(0), gain_offset.stride(0),
        OUT_START=out_start, BLOCK_ROWS=CHUNK_ROWS, BLOCK_RANK=BLOCK_RANK, BLOCK_OUT=BLOCK_OUT,
        TILE_RANKS=tables.tile_ranks, NO_GAIN=NO_GAIN, enable_fp_fusion=True,
    )  # fmt: skip


@triton.jit
def _shrink_kernel(
    shrunk_ptr, x_ptr, arena_ptr, tile_offset_ptr, rank_ptr, scale_ptr,
    row_index_ptr, chunk_slot_ptr, chunk_start_ptr, chunk_len_ptr, num_chunks_ptr,
    in_features, shrunk_slice_stride, shrunk_row_stride, x_row_stride,
    tile_slot_stride, tile_site_stride, rank_slot_stride, scale_slot_stride,
    BLOCK_ROWS: tl.constexpr, BLOCK_RANK: tl.constexpr, BLOCK_IN: tl.constexpr,
    TILE_RANKS: tl.constexpr,
):  # fmt: skip
    """Grid (chunk, block of ranks, slice). Reference: `reference.lora_shrink`."""
    chunk, part = tl.program_id(0), tl.program_id(2)
    if chunk >= tl.load(num_chunks_ptr):
        return
    slot = tl.load(chunk_slot_ptr + chunk).to(tl.int64)
    rank = tl.load(rank_ptr + slot * rank_slot_stride + part)
    ranks = tl.program_id(1) * BLOCK_RANK + tl.arange(0, BLOCK_RANK)
    if tl.program_id(1) * BLOCK_RANK >= rank:
        return
    has_rank = ranks < rank
    tiles = tile_offset_ptr + slot * tile_slot_stride + part * tile_site_stride
    tile_offset = tl.load(tiles + ranks // TILE_RANKS, mask=has_rank, other=0)
    a_ptrs = arena_ptr + tile_offset + (ranks % TILE_RANKS) * in_features  # [BLOCK_RANK]

    sorted_rows = tl.load(chunk_start_ptr + chunk) + tl.arange(0, BLOCK_ROWS)
    has_row = tl.arange(0, BLOCK_ROWS) < tl.load(chunk_len_ptr + chunk)
    rows = tl.load(row_index_ptr + sorted_rows, mask=has_row, other=0).to(tl.int64)
    x_ptrs = x_ptr + rows * x_row_stride  # [BLOCK_ROWS]

    sums = tl.zeros((BLOCK_ROWS, BLOCK_RANK), tl.float32)
    for start in range(0, in_features, BLOCK_IN):
        columns = start + tl.arange(0, BLOCK_IN)
        has_column = columns < in_features
        x_mask = has_row[:, None] & has_column[None, :]
        a_mask = has_column[:, None] & has_rank[None, :]
        x = tl.load(x_ptrs[:, None] + columns[None, :], mask=x_mask, other=0.0)
        a = tl.load(a_ptrs[None, :] + columns[:, None], mask=a_mask, other=0.0)
        sums += dot(x, a)

    scale = tl.load(scale_ptr + slot * scale_slot_stride + part)
    shrunk_ptrs = shrunk_ptr + part * shrunk_slice_stride + sorted_rows[:, None] * shrunk_row_stride
    tl.store(shrunk_ptrs + ranks[None, :], scale * sums, mask=has_row[:, None] & has_rank[None, :])


@triton.jit
def _embed_kernel(
    shrunk_ptr, token_ids_ptr, arena_ptr, tile_offset_ptr, rank_ptr, scale_ptr,
    row_index_ptr, chunk_slot_ptr, chunk_start_ptr, chunk_len_ptr, num_chunks_ptr,
    num_inputs, tile_width, shrunk_row_stride,
    tile_slot_stride, tile_site_stride, rank_slot_stride, scale_slot_stride,
    BLOCK_ROWS: tl.constexpr, BLOCK_RANK: tl.constexpr, TILE_RANKS: tl.constexpr,
):  # fmt: skip
    """Grid (chunk, block of ranks). Reference: `reference.lora_embed`."""
    chunk = tl.program_id(0)
    if chunk >= tl.load(num_chunks_ptr):
        return
    slot = tl.load(chunk_slot_ptr + chunk).to(tl.int64)
    rank = tl.load(rank_ptr + slot * rank_slot_stride)
    ranks = tl.program_id(1) * BLOCK_RANK + tl.arange(0, BLOCK_RANK)
    if tl.program_id(1) * BLOCK_RANK >= rank:
        return

    sorted_rows = tl.load(chunk_start_ptr + chunk) + tl.arange(0, BLOCK_ROWS)
    has_row = tl.arange(0, BLOCK_ROWS) < tl.load(chunk_len_ptr + chunk)
    rows = tl.load(row_index_ptr + sorted_rows, mask=has_row, other=0).to(tl.int64)
    tokens = tl.load(token_ids_ptr + rows, mask=has_row, other=0)
    parts = tokens // tile_width
    widths = tl.minimum(tile_width, num_inputs - parts * tile_width)

    mask = has_row[:, None] & (ranks < rank)[None, :]
    tiles = tile_offset_ptr + slot * tile_slot_stride + parts * tile_site_stride  # [BLOCK_ROWS]
    tile_offset = tl.load(tiles[:, None] + (ranks // TILE_RANKS)[None, :], mask=mask, other=0)
    in_tile = (ranks % TILE_RANKS)[None, :] * widths[:, None] + (tokens % tile_width)[:, None]
    a = tl.load(arena_ptr + tile_offset + in_tile, mask=mask, other=0.0).to(tl.float32)
    scale = tl.load(scale_ptr + slot * scale_slot_stride)
    shrunk_ptrs = shrunk_ptr + sorted_rows[:, None] * shrunk_row_stride + ranks[None, :]
    tl.store(shrunk_ptrs, scale * a, mask=mask)


@triton.jit
def _expand_kernel(
    y_ptr, shrunk_ptr, arena_ptr, tile_offset_ptr, rank_ptr, gain_offset_ptr,
    row_index_ptr, chunk_slot_ptr, chunk_start_ptr, chunk_len_ptr, num_chunks_ptr,
    y_row_stride, shrunk_slice_stride, shrunk_row_stride,
    tile_slot_stride, tile_site_stride, rank_slot_stride, gain_slot_stride,
    OUT_START: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_RANK: tl.constexpr,
    BLOCK_OUT: tl.constexpr, TILE_RANKS: tl.constexpr, NO_GAIN: tl.constexpr,
):  # fmt: skip
    """Grid (chunk, block of outputs, slice). Reference: `reference.lora_expand`.

    shrunk stays fp32: B in bf16 or fp16 is exact in tf32, so what gets rounded, to 11 bits, is it.
    """
    chunk, part = tl.program_id(0), tl.program_id(2)
    if chunk >= tl.load(num_chunks_ptr):
        return
    slot = tl.load(chunk_slot_ptr + chunk).to(tl.int64)
    rank = tl.load(rank_ptr + slot * rank_slot_stride + part)
    out_start, width = 0, 0
    for s in tl.static_range(len(OUT_START) - 1):
        out_start = tl.where(part == s, OUT_START[s], out_start)
        width = tl.where(part == s, OUT_START[s + 1] - OUT_START[s], width)
    columns = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    if (rank == 0) | (tl.program_id(1) * BLOCK_OUT >= width):
        return
    has_column = columns < width
    tiles = tile_offset_ptr + slot * tile_slot_stride + part * tile_site_stride

    sorted_rows = tl.load(chunk_start_ptr + chunk) + tl.arange(0, BLOCK_ROWS)
    has_row = tl.arange(0, BLOCK_ROWS) < tl.load(chunk_len_ptr + chunk)
    rows = tl.load(row_index_ptr + sorted_rows, mask=has_row, other=0).to(tl.int64)
    shrunk_ptrs = (
        shrunk_ptr + part * shrunk_slice_stride + sorted_rows * shrunk_row_stride
    )  # [BLOCK_ROWS]

    precision: tl.constexpr = "ieee" if arena_ptr.dtype.element_ty == tl.float32 else "tf32"
    sums = tl.zeros((BLOCK_ROWS, BLOCK_OUT), tl.float32)
    for start in range(0, rank, BLOCK_RANK):
        ranks = start + tl.arange(0, BLOCK_RANK)
        has_rank = ranks < rank
        tile_offset = tl.load(tiles + ranks // TILE_RANKS, mask=has_rank, other=0)
        b_ptrs = arena_ptr + tile_offset + (ranks % TILE_RANKS) * width  # [BLOCK_RANK]
        shrunk_mask = has_row[:, None] & has_rank[None, :]
        b_mask = has_rank[:, None] & has_column[None, :]
        shrunk = tl.load(shrunk_ptrs[:, None] + ranks[None, :], mask=shrunk_mask, other=0.0)
        b = tl.load(b_ptrs[:, None] + columns[None, :], mask=b_mask, other=0.0)
        sums += tl.dot(shrunk, b.to(tl.float32), input_precision=precision)

    y_ptrs = y_ptr + rows[:, None] * y_row_stride + (out_start + columns)[None, :]
    y_mask = has_row[:, None] & has_column[None, :]
    result = tl.load(y_ptrs, mask=y_mask, other=0.0).to(tl.float32) + sums
    gain_offset = tl.load(gain_offset_ptr + slot * gain_slot_stride + part)
    if gain_offset != NO_GAIN:
        gain_ptrs = arena_ptr + gain_offset + columns
        gain = tl.load(gain_ptrs, mask=has_column, other=0.0).to(tl.float32)
        shift = tl.load(gain_ptrs + width, mask=has_column, other=0.0).to(tl.float32)
        result = gain[None, :] * result + shift[None, :]
    tl.store(y_ptrs, result.to(y_ptr.dtype.element_ty), mask=y_mask)
