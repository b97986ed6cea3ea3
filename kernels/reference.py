"""Every kernel in plain torch: the oracle of the other backends, and what serves where none is.

Speed comes only from batching: decode rows of similar length are one padded computation, and all
rows of one adapter are one product per module.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from motet.kernels import SIDE_A, SIDE_B, TILE_RANKS, AttentionBatch, LoraBatch, LoraTables

QUERY_BLOCK = 128
"""Queries of a long row computed at once; bounds the size of their mask."""


def write_kv(kv: Tensor, layer: int, key: Tensor, value: Tensor, kv_slot: Tensor) -> None:
    page_tokens = kv.shape[3]
    page, offset = kv_slot // page_tokens, kv_slot % page_tokens
    kv[:, layer, 0][page, offset] = key
    kv[:, layer, 1][page, offset] = value


def paged_attention(
    out: Tensor, query: Tensor, kv: Tensor, layer: int, batch: AttentionBatch,
    scale: float, window: int | None,
) -> None:  # fmt: skip
    keys, values = kv[:, layer, 0], kv[:, layer, 1]  # [num_pages, page_tokens, kv_heads, head_dim]
    for blocks in _computed_together(_query_blocks(batch, window), page_tokens=kv.shape[3]):
        _attend(out, query, keys, values, batch.page_table, blocks, scale, window)


def lora_shrink(
    mid: Tensor, x: Tensor, arena: Tensor, tables: LoraTables, batch: LoraBatch,
    layer: int, module: int,
) -> None:  # fmt: skip
    rows = x.index_select(0, batch.row_index).float()
    widths = [x.shape[1]] * mid.shape[0]
    for run in _tile_runs(tables, batch, layer, module, SIDE_A, widths):
        out = mid[run.s, run.rows, run.ranks]
        out.addmm_(rows[run.rows], run.matrix(arena).T, beta=0, alpha=run.scale)


def lora_expand(
    y: Tensor, mid: Tensor, arena: Tensor, tables: LoraTables, batch: LoraBatch,
    layer: int, module: int, out_start: tuple[int, ...],
) -> None:  # fmt: skip
    sums = y.index_select(0, batch.row_index).float()
    widths = [stop - start for start, stop in pairwise(out_start)]
    for run in _tile_runs(tables, batch, layer, module, SIDE_B, widths):
        out = sums[run.rows, out_start[run.s] : out_start[run.s + 1]]
        out.addmm_(mid[run.s, run.rows, run.ranks], run.matrix(arena))
    y.index_copy_(0, batch.row_index.long(), sums.to(y.dtype))


def copy_pages(arena: Tensor, image: Tensor, pages: Tensor) -> None:
    arena_pages = arena.view(-1, image.shape[1])
    for page, content in zip(pages.tolist(), image, strict=True):
        arena_pages[page].copy_(content, non_blocking=True)


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


def _attend(
    out: Tensor, query: Tensor, keys: Tensor, values: Tensor, page_table: Tensor,
    blocks: list[_QueryBlock], scale: float, window: int | None,
) -> None:  # fmt: skip
    """Attention of blocks with equally many queries, keys padded to as many whole pages.

    The query heads that share a KV head are laid out as further queries of it, so keys and values
    are never repeated.
    """
    device = query.device
    num_blocks, num_queries = len(blocks), blocks[0].num_queries
    kv_heads, head_dim = keys.shape[2:]
    k, v = _gather(keys, values, page_table, blocks)

    queries = torch.arange(num_queries, device=device)
    first_query = torch.tensor([block.first_query for block in blocks], device=device)
    tokens = first_query[:, None] + queries  # [num_blocks, num_queries]
    q = query[tokens].view(num_blocks, num_queries, kv_heads, -1, head_dim)
    group = q.shape[3]

    # Positions count from the first gathered one, which is the beginning of a page.
    page_tokens = keys.shape[1]
    seen_to = [block.seen_to - block.pages(page_tokens).start * page_tokens for block in blocks]
    last_seen = torch.tensor(seen_to, device=device)[:, None] - num_queries + queries
    positions = torch.arange(k.shape[1], device=device)
    is_seen = positions <= last_seen[:, :, None]
    if window is not None:
        is_seen &= positions > last_seen[:, :, None] - window
    attended = scaled_dot_product_attention(
        q.transpose(1, 2).flatten(2, 3),
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=is_seen.repeat_interleave(group, dim=1)[:, None],
        scale=scale,
    )  # [num_blocks, kv_heads, num_queries * group, head_dim]
    by_token = attended.view(num_blocks, kv_heads, num_queries, group, head_dim).transpose(1, 2)
    out[tokens] = by_token.flatten(2, 3)


def _gather(
    keys: Tensor, values: Tensor, page_table: Tensor, blocks: list[_QueryBlock]
) -> tuple[Tensor, Tensor]:
    """What lies in the pages that blocks see: [num_blocks, num_positions, kv_heads, head_dim].

    What is not seen may be anything, even NaN, which no mask of weights would stop: it is zeroed.
    """
    _, page_tokens, kv_heads, head_dim = keys.shape
    device = keys.device
    seen_pages = [block.pages(page_tokens) for block in blocks]
    rows = torch.tensor([block.row for block in blocks], device=device)
    first = torch.tensor([pages.start for pages in seen_pages], device=device)
    num_pages = max(map(len, seen_pages))
    columns = first[:, None] + torch.arange(num_pages, device=device)
    pages = page_table[rows[:, None], columns.clamp(max=page_table.shape[1] - 1)].flatten()

    position = first[:, None] * page_tokens + torch.arange(num_pages * page_tokens, device=device)
    bounds = torch.tensor([(block.seen_from, block.seen_to) for block in blocks], device=device)
    is_unseen = (position < bounds[:, :1]) | (position >= bounds[:, 1:])
    unseen = is_unseen.flatten().nonzero().flatten()  # much faster to fill by than the mask

    def gathered(side: Tensor) -> Tensor:
        held = side.index_select(0, pages).view(-1, kv_heads, head_dim)
        return held.index_fill_(0, unseen, 0).view(len(blocks), -1, kv_heads, head_dim)

    return gathered(keys), gathered(values)


@dataclass(frozen=True, slots=True)
class _TileRun:
    """Tiles of one matrix that lie end to end in the arena, and the rows that meet them."""

    s: int  # slice of the launch
    rows: slice  # sorted rows
    ranks: slice  # rank rows in these tiles; those past the rank of the adapter are left out
    scale: float
    offset: int
    width: int

    def matrix(self, arena: Tensor) -> Tensor:
        """The rank rows, in fp32, where they lie if that is their dtype: [num_ranks, width]."""
        size = (self.ranks.stop - self.ranks.start) * self.width
        return arena[self.offset : self.offset + size].view(-1, self.width).float()


def _tile_runs(
    tables: LoraTables, batch: LoraBatch, layer: int, module: int, side: int, widths: Sequence[int]
) -> Iterator[_TileRun]:
    """All that slices of these widths need, from one look at the tables.

    Most matrices are one run: the tiles of an adapter are packed in the order they are read.
    """
    segments = _segments(batch)
    slots = torch.tensor([segment.slot for segment in segments], device=tables.rank.device).long()
    modules = slice(module, module + len(widths))
    ranks = tables.rank[:, layer, modules][slots].tolist()
    scales = tables.scale[:, layer, modules][slots].tolist()
    offsets = tables.tile_offset[:, layer, modules, side][slots].tolist()
    for i, segment in enumerate(segments):
        for s, width in enumerate(widths):
            rank = ranks[i][s]
            tiles = offsets[i][s][: -(-rank // TILE_RANKS)]
            for first, stop in _end_to_end(tiles, TILE_RANKS * width):
                yield _TileRun(
                    s=s,
                    rows=slice(segment.start, segment.stop),
                    ranks=slice(first * TILE_RANKS, min(stop * TILE_RANKS, rank)),
                    scale=scales[i][s],
                    offset=tiles[first],
                    width=width,
                )


def _end_to_end(offsets: Sequence[int], size: int) -> Iterator[tuple[int, int]]:
    """Cut into intervals `[first, stop)` of places, each `size` behind the one before."""
    first = 0
    for stop in range(1, len(offsets) + 1):
        if stop == len(offsets) or offsets[stop] != offsets[stop - 1] + size:
            yield first, stop
            first = stop


@dataclass(slots=True)
class _Segment:
    """Sorted rows `[start, stop)`, all of the adapter in `slot`."""

    slot: int
    start: int
    stop: int


def _segments(batch: LoraBatch) -> list[_Segment]:
    """Join neighbouring chunks of one slot."""
    num_chunks = int(batch.num_chunks)
    columns = (batch.chunk_slot, batch.chunk_start, batch.chunk_len)
    segments: list[_Segment] = []
    for slot, start, length in zip(*(c[:num_chunks].tolist() for c in columns), strict=True):
        if segments and segments[-1].slot == slot and segments[-1].stop == start:
            segments[-1].stop += length
        else:
            segments.append(_Segment(slot, start, start + length))
    return segments
