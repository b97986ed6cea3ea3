"""Batches as the engine lays them out, from lists of what each row is."""

from dataclasses import dataclass
from itertools import accumulate, chain

import torch
from torch import Tensor

from motet.kernels import CHUNK_ROWS, AttentionBatch, LoraBatch
from motet.memory.page import Lease, PageOwner
from tests.kernels.arena import Arena
from tests.kernels.target import Target

LAYER = 1
"""The layer that tests look at; the other one must not be touched."""

BASE = -1
"""The slot of a row without an adapter."""


def a_lora_batch(target: Target, slots: list[int]) -> LoraBatch:
    """Row i runs on the adapter in `slots[i]`. The padding chunk repeats the first one."""
    rows = sorted((i for i, slot in enumerate(slots) if slot != BASE), key=lambda i: slots[i])
    chunks: list[tuple[int, int, int]] = []  # slot, start, length
    for position, row in enumerate(rows):
        slot, start, length = chunks[-1] if chunks else (BASE, 0, 0)
        if slot == slots[row] and length < CHUNK_ROWS:
            chunks[-1] = (slot, start, length + 1)
        else:
            chunks.append((slots[row], position, 1))
    padded = chunks + chunks[:1]
    return LoraBatch(
        row_index=target.ints(rows),
        chunk_slot=target.ints([slot for slot, _, _ in padded]),
        chunk_start=target.ints([start for _, start, _ in padded]),
        chunk_len=target.ints([length for _, _, length in padded]),
        num_chunks=target.ints([len(chunks)]),
    )


@dataclass(frozen=True, slots=True)
class Row:
    """The KV of one sequence as dense tensors, and the pages that hold it."""

    num_queries: int
    key: Tensor  # [context_len, num_kv_heads, head_dim]
    value: Tensor
    lease: Lease

    @property
    def context_len(self) -> int:
        return self.key.shape[0]

    @property
    def first_position(self) -> int:
        """Of the first query."""
        return self.context_len - self.num_queries

    def kv_indices(self, page_tokens: int) -> list[int]:
        return [
            self.lease.pages[p // page_tokens] * page_tokens + p % page_tokens
            for p in range(self.context_len)
        ]


def a_row(arena: Arena, num_queries: int, context_len: int) -> Row:
    """Write the KV of a new sequence to pages of its own."""
    target, layout = arena.target, arena.layout
    key, value = (target.randn(context_len, layout.num_kv_heads, layout.head_dim) for _ in range(2))
    num_pages = -(-context_len // layout.page_tokens)
    row = Row(num_queries, key, value, arena.reserve(num_pages, PageOwner.KV))
    kv_index = target.ints(row.kv_indices(layout.page_tokens), torch.int64)
    write_kv(arena, key, value, kv_index)
    return row


def write_kv(arena: Arena, key: Tensor, value: Tensor, kv_index: Tensor) -> None:
    """Store keys and values as they are: turned by nothing."""
    heads = torch.cat((key, value), dim=1)
    turn = arena.target.randn(2, len(heads), heads.shape[2] // 2)
    cos, sin = torch.ones_like(turn[0]), torch.zeros_like(turn[1])
    arena.target.kernels.rotate_and_write_kv(heads, 0, cos, sin, arena.kv, LAYER, kv_index)


def some_rows(arena: Arena, lengths: list[tuple[int, int]]) -> list[Row]:
    return [a_row(arena, num_queries, context_len) for num_queries, context_len in lengths]


def an_attention_batch(arena: Arena, rows: list[Row]) -> AttentionBatch:
    ints, page_tokens = arena.target.ints, arena.layout.page_tokens
    max_pages = max((len(row.lease.pages) for row in rows), default=0)
    tables = [[*row.lease.pages] + [0] * (max_pages - len(row.lease.pages)) for row in rows]
    written = [row.kv_indices(page_tokens)[-row.num_queries :] for row in rows]
    return AttentionBatch(
        query_start=ints([0, *accumulate(row.num_queries for row in rows)]),
        context_len=ints([row.context_len for row in rows]),
        page_table=ints(tables).view(len(rows), max_pages),
        kv_index=ints([*chain.from_iterable(written)], torch.int64),
        max_query_len=max((row.num_queries for row in rows), default=0),
    )
