"""LoRA for rows of many adapters at once."""

from functools import lru_cache

import torch
from torch import Tensor

from motet.kernels import LoraBatch, LoraTables
from motet.kernels.cpu.native import DTYPES, Function

_shrink = Function("lora_shrink", "piiipiippppiipppppii")
_embed = Function("lora_embed", "pipppppiiiipppppii")
_expand = Function("lora_expand", "ppipiiippppiipppppii")


def lora_shrink(
    shrunk: Tensor, x: Tensor, arena: Tensor, tables: LoraTables, batch: LoraBatch,
    site: int,
) -> None:  # fmt: skip
    shrunk_slice_stride, shrunk_stride, _ = shrunk.stride()
    _, num_sites, _, num_groups = tables.tile_offset.shape
    _shrink(
        shrunk, shrunk.shape[0], shrunk_slice_stride, shrunk_stride, x, x.shape[1], x.stride(0),
        arena, tables.tile_offset, tables.rank, tables.scale, num_sites, num_groups,
        batch.row_index, batch.chunk_slot, batch.chunk_start, batch.chunk_len, batch.num_chunks,
        site, DTYPES[x.dtype],
    )  # fmt: skip


def lora_embed(
    shrunk: Tensor, token_ids: Tensor, arena: Tensor, tables: LoraTables, batch: LoraBatch,
    site: int, num_inputs: int,
) -> None:  # fmt: skip
    _, shrunk_stride, _ = shrunk.stride()
    _, num_sites, _, num_groups = tables.tile_offset.shape
    _embed(
        shrunk, shrunk_stride, token_ids,
        arena, tables.tile_offset, tables.rank, tables.scale, num_sites, num_groups,
        tables.tile_width, num_inputs,
        batch.row_index, batch.chunk_slot, batch.chunk_start, batch.chunk_len, batch.num_chunks,
        site, DTYPES[arena.dtype],
    )  # fmt: skip


def lora_expand(
    y: Tensor, shrunk: Tensor, arena: Tensor, tables: LoraTables, batch: LoraBatch,
    site: int, out_start: tuple[int, ...],
) -> None:  # fmt: skip
    shrunk_slice_stride, shrunk_stride, _ = shrunk.stride()
    _, num_sites, _, num_groups = tables.tile_offset.shape
    _expand(
        y, _int64(out_start), y.stride(0),
        shrunk, shrunk.shape[0], shrunk_slice_stride, shrunk_stride,
        arena, tables.tile_offset, tables.gain_offset, tables.rank, num_sites, num_groups,
        batch.row_index, batch.chunk_slot, batch.chunk_start, batch.chunk_len, batch.num_chunks,
        site, DTYPES[y.dtype],
    )  # fmt: skip


@lru_cache
def _int64(values: tuple[int, ...]) -> Tensor:
    """Kept: a model has few different ones."""
    return torch.tensor(values)
