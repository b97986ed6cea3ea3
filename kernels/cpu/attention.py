"""Attention over paged KV."""

import struct
from dataclasses import dataclass

from torch import Tensor

from motet.kernels import AttentionBatch
from motet.kernels.cpu.native import DTYPES, Function

UNLIMITED = 2**31 - 1
"""A window that reaches to the first position of any context."""

_paged_attention = Function("paged_attention", "pppppppf")
_shape = struct.Struct("18q")


@dataclass(frozen=True, slots=True)
class Plan:
    """Nothing but what was asked for: cutting the work takes a thousandth of it."""

    batch: AttentionBatch
    scale: float
    window: int


def prepare_attention(
    batch: AttentionBatch, kv: Tensor, num_heads: int, scale: float, window: int | None
) -> Plan:
    return Plan(batch, scale, UNLIMITED if window is None else window)


def paged_attention(out: Tensor, query: Tensor, kv: Tensor, layer: int, plan: Plan) -> None:
    batch = plan.batch
    shape = _shape.pack(
        *out.stride()[:2], *query.stride()[:2], *kv.stride()[:5], batch.page_table.stride(0),
        batch.page_table.shape[0], query.shape[1], *kv.shape[3:], layer,
        plan.window, DTYPES[kv.dtype],
    )  # fmt: skip
    _paged_attention(
        out, query, kv, batch.query_start, batch.context_len, batch.page_table, shape, plan.scale
    )
