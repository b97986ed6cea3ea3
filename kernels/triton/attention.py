"""KV write and attention over paged KV, untuned.

`kv` is read where it lies, through its strides: a layer of the arena is
`[num_pages, 2 (K, V), page_tokens, num_kv_heads, head_dim]`.
"""

import math
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from motet.kernels import AttentionBatch
from motet.kernels.reference.rotary import rotate
from motet.kernels.triton.dot import dot

LEAST_BLOCK = 16  # the least side of a tensor-core product
MOST_QUERIES = 64  # queries times the heads that share a KV head, per program
BLOCK_POSITIONS = 32

UNLIMITED = 2**31 - 1
"""A window that reaches to the first position of any context."""

LOWEST = tl.constexpr(torch.finfo(torch.float32).min)


def rotate_and_write_kv(
    heads: Tensor, num_heads: int, cos: Tensor, sin: Tensor, kv: Tensor, layer: int,
    kv_index: Tensor,
) -> None:  # fmt: skip
    num_tokens = len(heads)
    _, _, _, page_tokens, kv_heads, head_dim = kv.shape
    rotate(heads[:, : num_heads + kv_heads], cos, sin)
    key, value = heads[:, num_heads:].chunk(2, dim=1)
    layer_kv = kv[:, layer]
    _write_kv_kernel[(num_tokens,)](
        layer_kv, key, value, kv_index,
        page_tokens, head_dim, kv_heads * head_dim, layer_kv.stride(0), layer_kv.stride(1),
        layer_kv.stride(2), key.stride(0), key.stride(1), value.stride(0), value.stride(1),
        BLOCK=triton.next_power_of_2(kv_heads * head_dim), enable_fp_fusion=True,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """Nothing but what was asked for: programs find their work themselves."""

    batch: AttentionBatch
    scale_log2: float
    window: int


def prepare_attention(
    batch: AttentionBatch, kv: Tensor, num_heads: int, scale: float, window: int | None
) -> Plan:
    return Plan(batch, scale * math.log2(math.e), UNLIMITED if window is None else window)


def paged_attention(out: Tensor, query: Tensor, kv: Tensor, layer: int, plan: Plan) -> None:
    """Queries and the heads that share a KV head are the rows of one product per program."""
    batch = plan.batch
    num_rows = batch.context_len.shape[0]
    page_tokens, kv_heads, head_dim = kv.shape[3:]
    group = query.shape[1] // kv_heads
    most_queries = batch.max_query_len * group
    block_queries = min(max(triton.next_power_of_2(most_queries), LEAST_BLOCK), MOST_QUERIES)
    layer_kv = kv[:, layer]
    _attention_kernel[(num_rows, triton.cdiv(most_queries, block_queries), kv_heads)](
        out, query, layer_kv, batch.query_start, batch.context_len, batch.page_table,
        plan.scale_log2, plan.window,
        page_tokens, head_dim, group,
        out.stride(0), out.stride(1), query.stride(0), query.stride(1),
        layer_kv.stride(0), layer_kv.stride(1), layer_kv.stride(2), layer_kv.stride(3),
        batch.page_table.stride(0),
        BLOCK_QUERIES=block_queries, BLOCK_POSITIONS=BLOCK_POSITIONS,
        BLOCK_DIM=max(triton.next_power_of_2(head_dim), LEAST_BLOCK), enable_fp_fusion=True,
    )  # fmt: skip


@triton.jit
def _write_kv_kernel(
    kv_ptr, key_ptr, value_ptr, kv_index_ptr,
    page_tokens, head_dim, width, page_stride, side_stride, offset_stride,
    key_token_stride, key_head_stride, value_token_stride, value_head_stride,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Grid (token). Reference: `rotate_and_write_kv`, without the turning."""
    token = tl.program_id(0).to(tl.int64)
    kv_index = tl.load(kv_index_ptr + token)
    columns = tl.arange(0, BLOCK)
    mask = columns < width
    head, dim = columns // head_dim, columns % head_dim
    key_ptrs = key_ptr + token * key_token_stride + head * key_head_stride + dim
    value_ptrs = value_ptr + token * value_token_stride + head * value_head_stride + dim
    kv_ptrs = kv_ptr + kv_index // page_tokens * page_stride + columns
    kv_ptrs += kv_index % page_tokens * offset_stride
    tl.store(kv_ptrs, tl.load(key_ptrs, mask=mask), mask=mask)
    tl.store(kv_ptrs + side_stride, tl.load(value_ptrs, mask=mask), mask=mask)


@triton.jit
def _attention_kernel(
    out_ptr, query_ptr, kv_ptr, query_start_ptr, context_len_ptr, page_table_ptr,
    scale_log2, window, page_tokens, head_dim, group,
    out_token_stride, out_head_stride, query_token_stride, query_head_stride,
    page_stride, side_stride, offset_stride, kv_head_stride, table_row_stride,
    BLOCK_QUERIES: tl.constexpr, BLOCK_POSITIONS: tl.constexpr, BLOCK_DIM: tl.constexpr,
):  # fmt: skip
    """Grid (row, block of queries, KV head). Reference: `reference.paged_attention`.

    Item i of a block is query `i // group` of the row and head `i % group` of the KV head. The
    softmax is computed online (Milakov and Gimelshein, arXiv:1805.02867).
    """
    row, kv_head = tl.program_id(0), tl.program_id(2)
    row_start = tl.load(query_start_ptr + row)
    num_queries = tl.load(query_start_ptr + row + 1) - row_start
    context_len = tl.load(context_len_ptr + row)
    first_item = tl.program_id(1) * BLOCK_QUERIES
    if first_item >= num_queries * group:
        return
    items = first_item + tl.arange(0, BLOCK_QUERIES)
    head = kv_head * group + items % group
    token = (row_start + items // group).to(tl.int64)
    # Position of each query; items past the last one repeat it, so that they see something.
    last_seen = tl.minimum(context_len - num_queries + items // group, context_len - 1)
    dims = tl.arange(0, BLOCK_DIM)
    has_dim = dims < head_dim
    mask = (items < num_queries * group)[:, None] & has_dim[None, :]
    query_ptrs = query_ptr + token * query_token_stride + head * query_head_stride
    query = tl.load(query_ptrs[:, None] + dims[None, :], mask=mask, other=0.0)

    # The first positions may all lie before the window of a later query. `highest` is finite even
    # then, so that their weights are 0 and not NaN.
    highest = tl.full((BLOCK_QUERIES,), LOWEST, tl.float32)
    total = tl.zeros((BLOCK_QUERIES,), tl.float32)
    sums = tl.zeros((BLOCK_QUERIES, BLOCK_DIM), tl.float32)
    first = tl.maximum(tl.min(last_seen) - window + 1, 0)
    stop = tl.max(last_seen) + 1
    for start in range(first, stop, BLOCK_POSITIONS):
        positions = start + tl.arange(0, BLOCK_POSITIONS)
        is_held = positions < stop
        pages = page_table_ptr + row * table_row_stride + positions // page_tokens
        page = tl.load(pages, mask=is_held, other=0).to(tl.int64)
        key_ptrs = kv_ptr + page * page_stride + kv_head * kv_head_stride
        key_ptrs += positions % page_tokens * offset_stride  # [BLOCK_POSITIONS]
        kv_mask = is_held[:, None] & has_dim[None, :]
        key = tl.load(key_ptrs[:, None] + dims[None, :], mask=kv_mask, other=0.0)
        value_ptrs = (key_ptrs + side_stride)[:, None] + dims[None, :]
        value = tl.load(value_ptrs, mask=kv_mask, other=0.0)

        scores = dot(query, tl.trans(key)) * scale_log2
        is_seen = positions[None, :] <= last_seen[:, None]
        is_seen &= positions[None, :] > last_seen[:, None] - window
        scores = tl.where(is_seen, scores, float("-inf"))
        new_highest = tl.maximum(highest, tl.max(scores, 1))
        weights = tl.exp2(scores - new_highest[:, None])
        decay = tl.exp2(highest - new_highest)
        total = total * decay + tl.sum(weights, 1)
        sums = sums * decay[:, None] + dot(weights.to(value.dtype), value)
        highest = new_highest

    out_ptrs = out_ptr + token[:, None] * out_token_stride + head[:, None] * out_head_stride
    attended = sums / total[:, None]
    tl.store(out_ptrs + dims[None, :], attended.to(out_ptr.dtype.element_ty), mask=mask)
