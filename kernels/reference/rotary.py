"""Rotary position embedding, and where keys and values are kept."""

import torch
from torch import Tensor


def rotate_and_write_kv(
    heads: Tensor, num_heads: int, cos: Tensor, sin: Tensor, kv: Tensor, layer: int,
    kv_index: Tensor,
) -> None:  # fmt: skip
    page_tokens, num_kv_heads = kv.shape[3:5]
    rotate(heads[:, : num_heads + num_kv_heads], cos, sin)
    key, value = heads[:, num_heads:].chunk(2, dim=1)
    page, offset = kv_index // page_tokens, kv_index % page_tokens
    kv[:, layer, 0][page, offset] = key
    kv[:, layer, 1][page, offset] = value


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Turn `heads` [num_tokens, num_heads, head_dim] in place.

    The products are rounded in the order of transformers, which matters below float32.
    """
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    first, second = heads.chunk(2, dim=-1)
    turned = (first * cos - second * sin, second * cos + first * sin)
    heads.copy_(torch.cat(turned, dim=-1))
