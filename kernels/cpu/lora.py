"""LoRA for rows of many adapters at once."""

from functools import lru_cache

import torch
from torch import Tensor

from motet.kernels import LoraBatch, LoraTables
from motet.kernels.cpu.native import DTYPES, Function

_shrink = Function("lora_shrink", "piiipiippppiiipppppii")
_embed = Function("lora_embed", "pipppppiiiiipppppii")
_expand = Function("lora_expand", "ppipiiippppiiipppppii")


def lora_shrink(
    shrunk: Tensor, x: Tensor, arena: Tensor, tables: LoraTables, batch: LoraBatch,
    site: int,
) -> None:  # fmt: skip
    shrunk_slice_stride, shrunk_stride, _ = shrunk.stride()
    _shrink(
        shrunk, shrunk.shape[0], shrunk_slice_stride, shrunk_stride, x, x.shape[1], x.stride(0),
        arena, tables.a_offset, tables.rank, tables.scale, *_sizes(tables),
        batch.row_index, batch.chunk_slot, batch.chunk_start, batch.chunk_len, batch.num_chunks,
        site, DTYPES[x.dtype],
    )  # fmt: skip


def lora_embed(
    shrunk: Tensor, token_ids: Tensor, arena: Tensor, tables: LoraTables, batch: LoraBatch,
    site: int, num_inputs: int,
) -> None:  # fmt: skip
    _, shrunk_stride, _ = shrunk.stride()
    _embed(
        shrunk, shrunk_stride, token_ids,
        arena, tables.a_offset, tables.rank, tables.scale, *_sizes(tables),
        tables.tile_width, num_inputs,
        batch.row_index, batch.chunk_slot, batch.chunk_start, batch.chunk_len, batch.num_chunks,
        site, DTYPES[arena.dtype],
    )  # fmt: skip


def lora_expand(
    y: Tensor, shrunk: Tensor, arena: Tensor, tables: LoraTables, batch: LoraBatch,
    site: int, out_start: tuple[int, ...],
) -> None:  # fmt: skip
    shrunk_slice_stride, shrunk_stride, _ = shrunk.stride()
    _expand(
        y, _int64(out_start), y.stride(0),
        shrunk, shrunk.shape[0], shrunk_slice_stride, shrunk_stride,
        arena, tables.b_offset, tables.gain_offset, tables.rank, *_sizes(tables),
        batch.row_index, batch.chunk_slot, batch.chunk_start, batch.chunk_len, batch.num_chunks,
        site, DTYPES[y.dtype],
    )  # fmt: skip


def _sizes(tables: LoraTables) -> tuple[int, int, int]:
    _, num_sites, num_groups = tables.a_offset.shape
    return num_sites, num_groups, tables.tile_ranks


@lru_cache
def _int64(values: tuple[int, ...]) -> Tensor:
    """Kept: a model has few different ones."""
    return torch.tensor(values)
