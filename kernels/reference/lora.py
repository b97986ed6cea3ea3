"""LoRA: all rows of one adapter are one product per module."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from motet.kernels import NO_GAIN, LoraBatch, LoraTables


def lora_shrink(
    shrunk: Tensor, x: Tensor, arena: Tensor, tables: LoraTables, batch: LoraBatch,
    site: int,
) -> None:  # fmt: skip
    rows = x.index_select(0, batch.row_index).float()
    widths = [x.shape[1]] * shrunk.shape[0]
    for run in _tile_runs(tables.a_offset, tables, batch, site, widths):
        out = shrunk[run.s, run.rows, run.ranks]
        out.addmm_(rows[run.rows], run.matrix(arena).T, beta=0, alpha=run.scale)


def lora_embed(
    shrunk: Tensor, token_ids: Tensor, arena: Tensor, tables: LoraTables, batch: LoraBatch,
    site: int, num_inputs: int,
) -> None:  # fmt: skip
    tokens = token_ids.index_select(0, batch.row_index)
    part, column = tokens // tables.tile_width, tokens % tables.tile_width
    width = (num_inputs - part * tables.tile_width).clamp(max=tables.tile_width)
    for segment in _segments(batch):
        rows = slice(segment.start, segment.stop)
        rank = torch.arange(int(tables.rank[segment.slot, site]), device=shrunk.device)
        tiles = tables.a_offset[segment.slot, site + part[rows]]  # [rows, groups]
        in_tile = rank % tables.tile_ranks * width[rows, None] + column[rows, None]
        a = arena[tiles[:, rank // tables.tile_ranks] + in_tile]
        shrunk[0, rows, : len(rank)] = tables.scale[segment.slot, site] * a.float()


def lora_expand(
    y: Tensor, shrunk: Tensor, arena: Tensor, tables: LoraTables, batch: LoraBatch,
    site: int, out_start: tuple[int, ...],
) -> None:  # fmt: skip
    sums = y.index_select(0, batch.row_index).float()
    widths = [stop - start for start, stop in pairwise(out_start)]
    for run in _tile_runs(tables.b_offset, tables, batch, site, widths):
        out = sums[run.rows, out_start[run.s] : out_start[run.s + 1]]
        out.addmm_(shrunk[run.s, run.rows, run.ranks], run.matrix(arena))
    _rescale(sums, arena, tables, batch, site, out_start)
    y.index_copy_(0, batch.row_index.long(), sums.to(y.dtype))


def _rescale(
    sums: Tensor, arena: Tensor, tables: LoraTables, batch: LoraBatch,
    site: int, out_start: tuple[int, ...],
) -> None:  # fmt: skip
    """Apply the gains of each site that is targeted; `sums` are the sorted rows."""
    sites = slice(site, site + len(out_start) - 1)
    is_rescaled = (tables.gain_offset != NO_GAIN) & (tables.rank > 0)
    for segment in _segments(batch):
        for [s] in is_rescaled[segment.slot, sites].nonzero().tolist():
            offset = int(tables.gain_offset[segment.slot, site + s])
            width = out_start[s + 1] - out_start[s]
            gain, shift = arena[offset : offset + 2 * width].view(2, width).float()
            out = sums[segment.start : segment.stop, out_start[s] : out_start[s + 1]]
            out.mul_(gain).add_(shift)


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
    tile_offset: Tensor, tables: LoraTables, batch: LoraBatch, site: int, widths: Sequence[int]
) -> Iterator[_TileRun]:
    """All that slices of these widths need, from one look at the tables.

    `tile_offset` is that of A or of B. Most matrices are one run: the tiles of an adapter are
    packed in the order they are read.
    """
    segments, tile_ranks = _segments(batch), tables.tile_ranks
    slots = torch.tensor([segment.slot for segment in segments], device=tables.rank.device).long()
    sites = slice(site, site + len(widths))
    ranks = tables.rank[slots, sites].tolist()
    scales = tables.scale[slots, sites].tolist()
    offsets = tile_offset[slots, sites].tolist()
    for i, segment in enumerate(segments):
        for s, width in enumerate(widths):
            rank = ranks[i][s]
            tiles = offsets[i][s][: -(-rank // tile_ranks)]
            for first, stop in _end_to_end(tiles, tile_ranks * width):
                yield _TileRun(
                    s=s,
                    rows=slice(segment.start, segment.stop),
                    ranks=slice(first * tile_ranks, min(stop * tile_ranks, rank)),
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
