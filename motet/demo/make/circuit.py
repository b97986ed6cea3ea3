"""First weights that can repeat: an induction circuit, set by hand, for training to go on from.

A model this small finds by itself how to repeat a name that it has never read only after many times
the training it gets here. So layer 0 begins with heads that write to each position what stands
before it, and layer 1 with heads that look for a position behind the same token as the current one
and predict what stands there (induction heads, arXiv 2209.11895). Nothing of it is frozen.

The residual stream starts as [one | content | of the token before]: a constant, the embedding, and
room for what the heads of layer 0 write.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

ONE = 0.5
"""The constant; the content of a token has norm 1."""

BEFORE_GAIN = 0.1
MATCH_GAIN = 3.0
REPEAT_GAIN = 1.0
SHARPNESS = 1.2


@torch.no_grad()
def set_induction(model: LlamaForCausalLM) -> None:
    """Overwrites the embedding, and some heads of layers 0 and 1."""
    config: Any = model.config
    dim, kv_heads = config.head_dim, config.num_key_value_heads
    group = config.num_attention_heads // kv_heads
    content = config.hidden_size - 1 - kv_heads * dim
    embedding = model.model.embed_tokens.weight
    embedding[:, 0] = ONE
    embedding[:, 1 : 1 + content] = torch.randn(len(embedding), content) / content**0.5
    embedding[:, 1 + content :] = 0
    subspaces = torch.linalg.qr(torch.randn(content, content)).Q  # orthonormal rows
    slow = _slow_places(dim)
    first, second = (layer.self_attn for layer in model.model.layers[:2])
    for kv_head in range(kv_heads):
        keys = slice(kv_head * dim, (kv_head + 1) * dim)
        head = kv_head * group  # of its group; the others stay as they are
        queries = slice(head * dim, (head + 1) * dim)
        before = slice(1 + content + kv_head * dim, 1 + content + (kv_head + 1) * dim)
        part = subspaces[kv_head * dim : (kv_head + 1) * dim]  # [dim, content]
        for attention in (first, second):
            attention.q_proj.weight[queries] = 0
            attention.k_proj.weight[keys] = 0
            attention.v_proj.weight[keys] = 0
            attention.v_proj.weight[keys, 1 : 1 + content] = part
            attention.o_proj.weight[:, queries] = 0
        query, key = _one_before(dim, config.rope_parameters["rope_theta"])
        first.q_proj.weight[queries, 0] = query
        first.k_proj.weight[keys, 0] = key
        first.o_proj.weight[before, queries] = BEFORE_GAIN * torch.eye(dim)
        for place, row in zip(slow, range(dim), strict=False):
            second.q_proj.weight[head * dim + place, 1 : 1 + content] = MATCH_GAIN * part[row]
            second.k_proj.weight[kv_head * dim + place, before.start + row] = MATCH_GAIN
        second.o_proj.weight[1 : 1 + content, queries] = REPEAT_GAIN * part.T


def _slow_places(dim: int) -> list[int]:
    """Where rotary positions turn so slowly that distance hardly matters."""
    half = dim // 2
    slow = range(half * 7 // 16, half)
    return [*slow, *(half + place for place in slow)]


def _one_before(dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """A query and a key whose product is largest at a distance of one."""
    half = dim // 2
    fast = torch.arange(half // 4)
    angle = theta ** (-fast / half)
    query, key = torch.zeros(dim), torch.zeros(dim)
    key[fast] = SHARPNESS
    query[fast] = SHARPNESS * torch.cos(angle)  # turned back by one position
    query[half + fast] = -SHARPNESS * torch.sin(angle)
    return query, key
