"""A batch as tensors: what a forward pass reads, built anew for each step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motet.engine.plan import BASE_SLOT, Batch, Row
from motet.errors import BrokenInvariant
from motet.kernels import CHUNK_ROWS, AttentionBatch, Kernels, LoraBatch, LoraTables

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StepInputs:
    """All rows of a batch, laid out one after another."""

    token_ids: Tensor  # int64 [num_tokens]
    positions: Tensor  # int64 [num_tokens]
    attention: AttentionBatch
    lora: LoraBatch | None  # None when every row runs on the base model
    sample_index: Tensor  # int64, the token rows whose logits are wanted: first those to sample
    # from (one for each row that samples), then those before the targets of each row
    sampled_lora: LoraBatch | None  # lora of x[sample_index]


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What outlives a step on the device, and the kernels that work on it."""

    kernels: Kernels
    arena: Tensor  # engine dtype [num_pages * page_elements]
    kv: Tensor  # the same memory [num_pages, num_layers, 2, page_tokens, num_kv_heads, head_dim]
    tables: LoraTables
    mid: Tensor  # float32 [3, max_batch_tokens, max_rank], between LoRA shrink and expand


def build_inputs(batch: Batch, page_tokens: int, device: torch.device) -> StepInputs:
    """Lay out the rows of a batch. Raises BrokenInvariant for a row on a slot nobody bound."""
    _must_be_bound(batch)
    rows = batch.rows
    lengths = np.array([len(row.tokens) for row in rows])
    query_start = np.concatenate(([0], np.cumsum(lengths)))
    row_of_token = np.repeat(np.arange(len(rows)), lengths)
    starts = np.array([row.start for row in rows])
    positions = np.arange(query_start[-1]) - query_start[row_of_token] + starts[row_of_token]
    page_table = _page_table(rows)
    page = page_table[row_of_token, positions // page_tokens]
    slots = np.array([row.slot for row in rows])[row_of_token]
    sample_index = _sample_index(rows, query_start)

    def to_device(values: Ints, dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(values).to(device, dtype)

    return StepInputs(
        token_ids=torch.tensor([token for row in rows for token in row.tokens], device=device),
        positions=to_device(positions, torch.int64),
        attention=AttentionBatch(
            query_start=to_device(query_start, torch.int32),
            context_len=to_device(starts + lengths, torch.int32),
            page_table=to_device(page_table, torch.int32),
            kv_slot=to_device(page * page_tokens + positions % page_tokens, torch.int64),
            max_query_len=int(lengths.max()),
        ),
        lora=_lora_batch(slots, device),
        sample_index=to_device(sample_index, torch.int64),
        sampled_lora=_lora_batch(slots[sample_index], device),
    )


def _must_be_bound(batch: Batch) -> None:
    bound = {binding.slot for binding in batch.adapters} | {BASE_SLOT}
    for row in batch.rows:
        if row.slot not in bound:
            raise BrokenInvariant(
                f"row of {row.request_id} runs on slot {row.slot}, bound: {bound}"
            )


def _page_table(rows: Sequence[Row]) -> Ints:
    """`[num_rows, max_pages]`, tail padded with 0."""
    table = np.zeros((len(rows), max(len(row.pages) for row in rows)), np.int64)
    for index, row in enumerate(rows):
        table[index, : len(row.pages)] = row.pages
    return table


def _sample_index(rows: Sequence[Row], query_start: Ints) -> Ints:
    """`StepInputs.sample_index`."""
    is_sampled = np.array([row.sampling is not None for row in rows])
    scored = [
        first + row.targets.start - 1 - row.start + np.arange(len(row.targets.tokens))
        for row, first in zip(rows, query_start[:-1], strict=True)
        if row.targets is not None
    ]
    return np.concatenate((query_start[1:][is_sampled] - 1, *scored))


def _lora_batch(slot_of_token: Ints, device: torch.device) -> LoraBatch | None:
    """Sort the token rows on adapters by slot, then cut each slot's run into chunks."""
    on_adapter = np.flatnonzero(slot_of_token != BASE_SLOT)
    if not len(on_adapter):
        return None
    row_index = on_adapter[np.argsort(slot_of_token[on_adapter], kind="stable")]
    slots, run_start, run_len = np.unique(
        slot_of_token[row_index], return_index=True, return_counts=True
    )
    chunks = [
        (slot, start + done, min(length - done, CHUNK_ROWS))
        for slot, start, length in zip(slots, run_start, run_len, strict=True)
        for done in range(0, length, CHUNK_ROWS)
    ]
    slot, start, length = torch.tensor(np.array(chunks), dtype=torch.int32, device=device).unbind(1)
    return LoraBatch(
        row_index=torch.from_numpy(row_index).to(device, torch.int32),
        chunk_slot=slot.contiguous(),
        chunk_start=start.contiguous(),
        chunk_len=length.contiguous(),
        num_chunks=torch.tensor([len(chunks)], dtype=torch.int32, device=device),
    )
