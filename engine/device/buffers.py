"""The tensors of a step, kept from one step to the next: only what a plan changes is written."""

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motet.engine.config import BatchConfig
from motet.engine.models.inputs import StepInputs
from motet.engine.plan import BASE_SLOT, Batch, Row
from motet.errors import BrokenInvariant
from motet.kernels import CHUNK_ROWS, AttentionBatch, LoraBatch
from motet.memory.page import PageId

Ints = NDArray[np.int64]


class StepBuffers:
    """Lays out batches within the limits it was made for.

    It remembers plans, not sequences: whatever came before, a batch gives the same tensors.
    """

    def __init__(
        self, limits: BatchConfig, max_model_len: int, page_tokens: int, device: torch.device
    ) -> None:
        tokens = limits.max_batch_tokens
        rows = min(limits.max_batch_rows, tokens)
        self._page_tokens = page_tokens
        self._token_ids = _Buffer(tokens, np.int64, device)
        self._positions = _Buffer(tokens, np.int64, device)
        self._query_start = _Buffer(rows + 1, np.int32, device)
        self._context_len = _Buffer(rows, np.int32, device)
        self._page_table = _PageTable(rows, -(-max_model_len // page_tokens), device)
        self._kv_index = _Buffer(tokens, np.int64, device)
        self._lora = _LoraBuffers(tokens, device)
        self._sample_index = _Buffer(tokens + rows, np.int64, device)
        self._sampled_lora = _LoraBuffers(tokens + rows, device)
        self._part_lora = _LoraBuffers(tokens + rows, device)
        self._sampled_slots: Ints = np.empty(0, np.int64)

    def fill(self, batch: Batch) -> StepInputs:
        """The batch as tensors, which hold until the next one.

        Raises BrokenInvariant for a row on a slot nobody bound.
        """
        _must_be_bound(batch)
        rows = batch.rows
        lengths = np.array([len(row.tokens) for row in rows])
        query_start = np.concatenate(([0], np.cumsum(lengths)))
        num_tokens = int(query_start[-1])
        row_of_token = np.repeat(np.arange(len(rows)), lengths)
        starts = np.array([row.start for row in rows])
        positions = np.arange(num_tokens) + (starts - query_start[:-1])[row_of_token]
        page_table = self._page_table.fill([row.pages for row in rows])
        page = self._page_table.values[row_of_token, positions // self._page_tokens]
        sample_index = _sample_index(rows, query_start)
        slots = np.array([row.slot for row in rows])[row_of_token]
        lora = self._lora.fill(slots)
        self._sampled_slots = slots[sample_index]
        takes_all = np.array_equal(sample_index, np.arange(num_tokens))
        return StepInputs(
            token_ids=self._token_ids.put(_joined((row.tokens for row in rows), num_tokens)),
            positions=self._positions.put(positions),
            attention=AttentionBatch(
                query_start=self._query_start.put(query_start),
                context_len=self._context_len.put(starts + lengths),
                page_table=page_table,
                kv_index=self._kv_index.put(
                    page.astype(np.int64) * self._page_tokens + positions % self._page_tokens
                ),
                max_query_len=int(lengths.max()),
            ),
            lora=lora,
            sample_index=self._sample_index.put(sample_index),
            sampled_lora=lora if takes_all else self._sampled_lora.fill(self._sampled_slots),
        )

    def sampled_lora(self, part: slice) -> LoraBatch | None:
        """`StepInputs.sampled_lora` of some of its rows, counted within them; until the next."""
        return self._part_lora.fill(self._sampled_slots[part])


class _Buffer:
    """Numbers on the device, and where they are written on the host: on a CPU, the same memory."""

    def __init__(
        self, shape: int | tuple[int, ...], dtype: type[np.integer], device: torch.device
    ) -> None:
        # By numpy: unlike torch, it takes no memory for zeros that nobody has touched.
        host = torch.from_numpy(np.zeros(shape, dtype))
        self._host = host.pin_memory() if device.type == "cuda" else host
        self._device = self._host.to(device)
        self.values = self._host.numpy()

    def put(self, values: Ints) -> Tensor:
        """Write the first values, and no others."""
        self.values[: len(values)] = values
        return self.sent(slice(len(values)))

    def sent(self, *part: slice) -> Tensor:
        """A part on the device, as it was written."""
        if self._device is not self._host:
            self._device[part].copy_(self._host[part])
        return self._device[part]


class _PageTable(_Buffer):
    """The pages of each row. A row whose pages are the same object as before is left alone."""

    def __init__(self, max_rows: int, max_pages: int, device: torch.device) -> None:
        super().__init__((max_rows, max_pages), np.int32, device)
        self._held: list[tuple[PageId, ...]] = [()] * max_rows  # what each row says, then zeros

    def fill(self, wanted: Sequence[tuple[PageId, ...]]) -> Tensor:
        """`[len(wanted), max_pages]` of these, tail padded with 0."""
        changed = [row for row, pages in enumerate(wanted) if pages is not self._held[row]]
        if changed:
            self._move(changed, wanted)
        for row in changed:
            self._write(row, wanted[row])
        return self.sent(slice(len(wanted)), slice(max(map(len, wanted))))

    def _move(self, changed: Sequence[int], wanted: Sequence[tuple[PageId, ...]]) -> None:
        """Copy what lies in another row: one that ends lets all behind it move up."""
        row_of = {id(pages): row for row, pages in enumerate(self._held)}
        moves = [(row, row_of[id(wanted[row])]) for row in changed if id(wanted[row]) in row_of]
        if not moves:
            return
        to, origin = map(list, zip(*moves, strict=True))
        width = max(map(len, self._held))
        self.values[to, :width] = self.values[origin, :width]
        for row in to:
            self._held[row] = wanted[row]

    def _write(self, row: int, pages: tuple[PageId, ...]) -> None:
        """Only the tail, where the row has but grown; nothing where it has been moved to."""
        held, self._held[row] = self._held[row], pages
        num_kept = len(held) if pages[: len(held)] == held else 0
        self.values[row, num_kept : len(pages)] = pages[num_kept:]
        self.values[row, len(pages) : len(held)] = 0


class _LoraBuffers:
    """A `LoraBatch`, laid out anew when other rows run on adapters than in the step before."""

    def __init__(self, max_tokens: int, device: torch.device) -> None:
        self._row_index = _Buffer(max_tokens, np.int32, device)
        self._chunks = [_Buffer(max_tokens, np.int32, device) for _ in range(3)]
        self._num_chunks = _Buffer(1, np.int32, device)
        self._slot_of_token: Ints | None = None
        self._batch: LoraBatch | None = None

    def fill(self, slot_of_token: Ints) -> LoraBatch | None:
        """None when every token runs on the base model."""
        if self._slot_of_token is None or not np.array_equal(slot_of_token, self._slot_of_token):
            self._slot_of_token = slot_of_token
            self._batch = self._laid_out(slot_of_token)
        return self._batch

    def _laid_out(self, slot_of_token: Ints) -> LoraBatch | None:
        """Sort the token rows on adapters by slot, then cut each slot's run into chunks."""
        on_adapter = np.flatnonzero(slot_of_token != BASE_SLOT)
        if not len(on_adapter):
            return None
        row_index = on_adapter[np.argsort(slot_of_token[on_adapter], kind="stable")]
        slots, run_start, run_len = np.unique(
            slot_of_token[row_index], return_index=True, return_counts=True
        )
        chunks = np.array([
            (slot, start + done, min(length - done, CHUNK_ROWS))
            for slot, start, length in zip(slots, run_start, run_len, strict=True)
            for done in range(0, length, CHUNK_ROWS)
        ])  # fmt: skip
        slot, start, length = (
            buffer.put(column) for buffer, column in zip(self._chunks, chunks.T, strict=True)
        )
        return LoraBatch(
            row_index=self._row_index.put(row_index),
            chunk_slot=slot,
            chunk_start=start,
            chunk_len=length,
            num_chunks=self._num_chunks.put(np.array([len(chunks)])),
        )


def _must_be_bound(batch: Batch) -> None:
    bound = {binding.slot for binding in batch.adapters} | {BASE_SLOT}
    for row in batch.rows:
        if row.slot not in bound:
            raise BrokenInvariant(
                f"row of {row.request_id} runs on slot {row.slot}, bound: {bound}"
            )


def _joined(tokens: Iterable[tuple[int, ...]], num_tokens: int) -> Ints:
    return np.fromiter(chain.from_iterable(tokens), np.int64, num_tokens)


def _sample_index(rows: Sequence[Row], query_start: Ints) -> Ints:
    """`StepInputs.sample_index`."""
    is_sampled = np.array([row.sampling is not None for row in rows])
    scored = [
        first + row.targets.start - 1 - row.start + np.arange(len(row.targets.tokens))
        for row, first in zip(rows, query_start[:-1], strict=True)
        if row.targets is not None
    ]
    return np.concatenate((query_start[1:][is_sampled] - 1, *scored))
