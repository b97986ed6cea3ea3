"""Rotary position embedding, and where keys and values are kept."""

from torch import Tensor

from motet.kernels.cpu.native import DTYPES, Function

_rotate_and_write_kv = Function("rotate_and_write_kv", "pppppiiiiiiiiii")


def rotate_and_write_kv(
    heads: Tensor, num_heads: int, cos: Tensor, sin: Tensor, kv: Tensor, layer: int,
    kv_index: Tensor,
) -> None:  # fmt: skip
    num_tokens, _, head_dim = heads.shape
    page_tokens, num_kv_heads = kv.shape[3:5]
    _rotate_and_write_kv(
        heads, cos, sin, kv[:, layer], kv_index, num_tokens, num_heads, num_kv_heads, head_dim,
        page_tokens, *heads.stride()[:2], kv.stride(0), kv.stride(2), DTYPES[heads.dtype],
    )  # fmt: skip
