"""Attention over paged KV: decode rows of similar length are one padded computation."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from motet.kernels import AttentionBatch

QUERY_BLOCK = 128
"""Queries of a long row computed at once; bounds the size of their mask."""


def prepare_attention(
    batch: AttentionBatch, kv: Tensor, num_heads: int, scale: float, window: int | None
) -> "Plan":
    page_tokens = kv.shape[3]
    together = _computed_together(_query_blocks(batch, window), page_tokens)
    groups = [_find(blocks, batch.page_table, page_tokens) for blocks in together]
    return Plan(groups, scale, window)


def paged_attention(out: Tensor, query: Tensor, kv: Tensor, layer: int, plan: "Plan") -> None:
    keys, values = kv[:, layer, 0], kv[:, layer, 1]  # [num_pages, page_tokens, kv_heads, head_dim]
    for group in plan.groups:
        _attend(out, query, keys, values, group, plan.scale, plan.window)


@dataclass(frozen=True, slots=True)
class Plan:
    groups: list["_Group"]
    scale: float
    window: int | None


@dataclass(frozen=True, slots=True)
class _Group:
    """Blocks with equally many queries, keys padded to as many whole pages.

    Positions count from the first gathered one, which is the beginning of a page.
    """

    tokens: Tensor  # int64 [num_blocks, num_queries], rows of query and out
    last_seen: Tensor  # int64 [num_blocks, num_queries], position
    pages: Tensor  # int32 [num_blocks * num_pages]
    unseen: Tensor  # int64, places in what these hold that no query of their block sees


@dataclass(frozen=True, slots=True)
class _QueryBlock:
    """Consecutive queries of one row, which together see its positions `[seen_from, seen_to)`."""

    row: int
    first_query: int  # row of query and out
    num_queries: int
    seen_from: int
    seen_to: int  # one past the position of the last query

    def pages(self, page_tokens: int) -> range:
        """Where in its page table the seen positions lie."""
        return range(self.seen_from // page_tokens, -(-self.seen_to // page_tokens))


def _query_blocks(batch: AttentionBatch, window: int | None) -> Iterator[_QueryBlock]:
    starts, context_lens = batch.query_start.tolist(), batch.context_len.tolist()
    for row, (start, stop) in enumerate(pairwise(starts)):
        for first in range(start, stop, QUERY_BLOCK):
            num_queries = min(QUERY_BLOCK, stop - first)
            position = context_lens[row] - (stop - first)
            seen_from = 0 if window is None else max(0, position - window + 1)
            yield _QueryBlock(row, first, num_queries, seen_from, position + num_queries)


def _computed_together(
    blocks: Iterable[_QueryBlock], page_tokens: int
) -> Iterator[list[_QueryBlock]]:
    """Long blocks one by one; single queries by pages seen, within a factor of two."""
    single: dict[int, list[_QueryBlock]] = defaultdict(list)
    for block in blocks:
        if block.num_queries > 1:
            yield [block]
        else:
            single[len(block.pages(page_tokens)).bit_length()].append(block)
    yield from single.values()


def _find(blocks: list[_QueryBlock], page_table: Tensor, page_tokens: int) -> _Group:
    device, num_queries = page_table.device, blocks[0].num_queries
    queries = torch.arange(num_queries, device=device)
    first_query = torch.tensor([block.first_query for block in blocks], device=device)

    seen_pages = [block.pages(page_tokens) for block in blocks]
    rows = torch.tensor([block.row for block in blocks], device=device)
    first = torch.tensor([pages.start for pages in seen_pages], device=device)[:, None]
    num_pages = max(map(len, seen_pages))
    columns = first + torch.arange(num_pages, device=device)
    pages = page_table[rows[:, None], columns.clamp(max=page_table.shape[1] - 1)]

    position = first * page_tokens + torch.arange(num_pages * page_tokens, device=device)
    bounds = torch.tensor([(block.seen_from, block.seen_to) for block in blocks], device=device)
    is_unseen = (position < bounds[:, :1]) | (position >= bounds[:, 1:])
    return _Group(
        tokens=first_query[:, None] + queries,
        last_seen=bounds[:, 1:] - first * page_tokens - num_queries + queries,
        pages=pages.flatten(),
        unseen=is_unseen.flatten().nonzero().flatten(),  # much faster to fill by than the mask
    )


def _attend(
    out: Tensor, query: Tensor, keys: Tensor, values: Tensor, blocks: _Group, scale: float,
    window: int | None,
) -> None:  # fmt: skip
    """The query heads that share a KV head are laid out as further queries of it.

    So keys and values are never repeated.
    """
    num_blocks, num_queries = blocks.tokens.shape
    kv_heads, head_dim = keys.shape[2:]
    k, v = _gathered(keys, blocks), _gathered(values, blocks)
    q = query[blocks.tokens].view(num_blocks, num_queries, kv_heads, -1, head_dim)
    group = q.shape[3]

    positions = torch.arange(k.shape[1], device=query.device)
    last_seen = blocks.last_seen[:, :, None]
    is_seen = positions <= last_seen
    if window is not None:
        is_seen &= positions > last_seen - window
    attended = scaled_dot_product_attention(
        q.transpose(1, 2).flatten(2, 3),
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=is_seen.repeat_interleave(group, dim=1)[:, None],
        scale=scale,
    )  # [num_blocks, kv_heads, num_queries * group, head_dim]
    by_token = attended.view(num_blocks, kv_heads, num_queries, group, head_dim).transpose(1, 2)
    out[blocks.tokens] = by_token.flatten(2, 3)


def _gathered(side: Tensor, blocks: _Group) -> Tensor:
    """What lies in the pages that blocks see: [num_blocks, num_positions, kv_heads, head_dim].

    What is not seen may be anything, even NaN, which no mask of weights would stop: it is zeroed.
    """
    kv_heads, head_dim = side.shape[2:]
    held = side.index_select(0, blocks.pages).view(-1, kv_heads, head_dim)
    held.index_fill_(0, blocks.unseen, 0)
    return held.view(len(blocks.tokens), -1, kv_heads, head_dim)
