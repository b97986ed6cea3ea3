"""Attention over paged KV."""

import struct

from torch import Tensor

from motet.kernels import AttentionBatch
from motet.kernels.cpu.native import DTYPES, Function

UNLIMITED = 2**31 - 1
"""A window that reaches to the first position of any context."""

_paged_attention = Function("paged_attention", "pppppppf")
_shape = struct.Struct("18q")


def paged_attention(
    out: Tensor, query: Tensor, kv: Tensor, layer: int, batch: AttentionBatch,
    scale: float, window: int | None,
) -> None:  # fmt: skip
    shape = _shape.pack(
        *out.stride()[:2], *query.stride()[:2], *kv.stride()[:5], batch.page_table.stride(0),
        batch.page_table.shape[0], query.shape[1], *kv.shape[3:], layer,
        UNLIMITED if window is None else window, DTYPES[kv.dtype],
    )  # fmt: skip
    _paged_attention(
        out, query, kv, batch.query_start, batch.context_len, batch.page_table, shape, scale
    )
