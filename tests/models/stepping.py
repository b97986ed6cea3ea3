"""Runs a model without the engine: steps written by hand, pages dealt at random."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from motet.engine.models import Model, ModelSpec
from motet.engine.models.inputs import DeviceState, StepInputs
from motet.kernels import AttentionBatch, LoraBatch, LoraTables, load_kernels

PAGE_TOKENS = 4
NUM_PAGES = 96


@dataclass(slots=True)
class Track:
    """One sequence: its tokens, how many are computed, the pages that hold their KV."""

    tokens: list[int]
    slot: int = -1
    num_computed: int = 0
    pages: list[int] = field(default_factory=list)


Take = tuple[int, int]
"""(index of a sequence, how many of its next tokens to compute)."""


class Stepper:
    """A model and an arena full of NaN: whatever is read before it is written shows."""

    def __init__(
        self,
        model: Model,
        spec: ModelSpec,
        dtype: torch.dtype,
        extra: Tensor | None = None,
        tables: LoraTables | None = None,
    ) -> None:
        """`extra` lies behind the pages of the arena, where `tables` may point."""
        self._model = model
        shape = (NUM_PAGES, spec.num_layers, 2, PAGE_TOKENS, spec.num_kv_heads, spec.head_dim)
        pages = torch.full(shape, torch.nan, dtype=dtype)
        arena = pages.flatten() if extra is None else torch.cat((pages.flatten(), extra))
        self._state = DeviceState(
            kernels=load_kernels("reference"),
            arena=arena,
            kv=arena[: pages.numel()].view(shape),
            tables=tables or _no_tables(),
            shrunk=torch.full((3, 256, 32), torch.nan),
        )
        self._free = random.Random(0).sample(range(NUM_PAGES), NUM_PAGES)

    def prepare(self, tracks: Sequence[Track], takes: Sequence[Take]) -> StepInputs:
        """The next tokens of some sequences as one batch; the logits of all are wanted."""
        rows = [(tracks[index], count) for index, count in takes]
        for track, count in rows:
            while len(track.pages) * PAGE_TOKENS < track.num_computed + count:
                track.pages.append(self._free.pop())
        return _inputs(rows)

    def forward(self, inputs: StepInputs) -> Tensor:
        hidden = self._model.forward(inputs, self._state)
        return self._model.logits(hidden, inputs.sampled_lora, self._state)

    def step(self, tracks: Sequence[Track], takes: Sequence[Take]) -> list[Tensor]:
        """Compute one batch: the logits of each row."""
        logits = self.forward(self.prepare(tracks, takes))
        for index, count in takes:
            tracks[index].num_computed += count
        return list(torch.split(logits, [count for _, count in takes]))

    def run(self, tracks: Sequence[Track], schedule: Sequence[Sequence[Take]]) -> list[Tensor]:
        """All steps of a schedule: the logits of each sequence, `[num_tokens, vocab_size]`."""
        logits: list[list[Tensor]] = [[] for _ in tracks]
        for takes in schedule:
            for (index, _), part in zip(takes, self.step(tracks, takes), strict=True):
                logits[index].append(part)
        return [torch.cat(parts) for parts in logits]


def _no_tables() -> LoraTables:
    nothing = torch.empty(0)
    return LoraTables(nothing, nothing, nothing, nothing, nothing, tile_ranks=0, tile_width=0)


def _inputs(rows: Sequence[tuple[Track, int]]) -> StepInputs:
    tokens: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    kv_indices: list[int] = []
    for track, count in rows:
        for position in range(track.num_computed, track.num_computed + count):
            tokens.append(track.tokens[position])
            positions.append(position)
            slots.append(track.slot)
            page = track.pages[position // PAGE_TOKENS]
            kv_indices.append(page * PAGE_TOKENS + position % PAGE_TOKENS)
    counts = torch.tensor([0] + [count for _, count in rows])
    max_pages = max(len(track.pages) for track, _ in rows)
    page_table = [track.pages + [0] * (max_pages - len(track.pages)) for track, _ in rows]
    attention = AttentionBatch(
        query_start=counts.cumsum(0).int(),
        context_len=torch.tensor([track.num_computed + count for track, count in rows]).int(),
        page_table=torch.tensor(page_table).int(),
        kv_index=torch.tensor(kv_indices),
        max_query_len=int(counts.max()),
    )
    return StepInputs(
        token_ids=torch.tensor(tokens),
        positions=torch.tensor(positions),
        attention=attention,
        lora=_lora_batch(slots),
        sample_index=torch.arange(len(tokens)),
        sampled_lora=_lora_batch(slots),
    )


def _lora_batch(slots: Sequence[int]) -> LoraBatch | None:
    """The smallest chunks there can be: one row each, sorted by slot."""
    rows = sorted((slot, row) for row, slot in enumerate(slots) if slot >= 0)
    if not rows:
        return None
    return LoraBatch(
        row_index=torch.tensor([row for _, row in rows]).int(),
        chunk_slot=torch.tensor([slot for slot, _ in rows]).int(),
        chunk_start=torch.arange(len(rows)).int(),
        chunk_len=torch.ones(len(rows)).int(),
        num_chunks=torch.tensor([len(rows)]).int(),
    )
