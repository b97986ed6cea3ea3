"""A row on an adapter computes what the model with merged weights would."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from motet.engine.models import MODELS, load_model, read_config
from motet.kernels import NO_GAIN, LoraTables
from motet.memory.geometry import Module
from motet.memory.layout import TILE_RANKS, num_tiles
from tests.model_factory import MAKERS, VOCAB_SIZE
from tests.models.stepping import NUM_PAGES, PAGE_TOKENS, Stepper, Track

RANKS = (5, 12)
"""Of the adapters in slots 0 and 1."""

SCALE = 0.5

Target = tuple[int, int]
"""(slot, module)."""

Pair = tuple[Tensor, Tensor]
"""A `[rank, in_features]` and B `[out_features, rank]`."""


def some_pairs(modules: Sequence[Module]) -> dict[Target, Pair]:
    dice = torch.Generator().manual_seed(0)
    return {
        (slot, module): (
            0.2 * torch.randn(rank, shape.in_features, generator=dice),
            0.2 * torch.randn(shape.out_features, rank, generator=dice),
        )
        for slot, rank in enumerate(RANKS)
        for module, shape in enumerate(modules)
    }


def laid_out(
    pairs: Mapping[Target, Pair], num_modules: int, first_element: int
) -> tuple[Tensor, LoraTables]:
    """Tiles one after another, and the tables that find them from `first_element` on."""
    size = (len(RANKS), num_modules)
    offsets = torch.zeros(2, *size, num_tiles(max(RANKS)), dtype=torch.int64)
    rank = torch.zeros(size, dtype=torch.int32)
    tiles: list[Tensor] = []
    end = first_element
    for target, (a, b) in pairs.items():
        rank[target] = len(a)
        for side, matrix in enumerate((a, b.T)):
            for group, rows in enumerate(matrix.split(TILE_RANKS)):  # type: ignore[no-untyped-call]
                tile = torch.zeros(TILE_RANKS, matrix.shape[1])
                tile[: len(rows)] = rows
                offsets[(side, *target, group)] = end
                tiles.append(tile.flatten())
                end += tile.numel()
    return torch.cat(tiles), LoraTables(
        a_offset=offsets[0],
        b_offset=offsets[1],
        rank=rank,
        scale=torch.full(size, SCALE),
        gain_offset=torch.full(size, NO_GAIN),
        tile_ranks=TILE_RANKS,
        tile_width=512,
    )


def merge(
    model: PreTrainedModel, modules: Sequence[Module], pairs: Mapping[Target, Pair], slot: int
) -> None:
    index = {module.path: place for place, module in enumerate(modules)}
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            a, b = pairs[slot, index[path]]
            update = SCALE * b @ a
            module.weight.data += update if isinstance(module, torch.nn.Linear) else update.T


@pytest.mark.parametrize("architecture", MODELS)
def test_adapters_of_different_ranks_and_the_base_share_a_batch(
    tmp_path: Path, architecture: str
) -> None:
    path = str(MAKERS[architecture](tmp_path))
    spec = read_config(path)
    pairs = some_pairs(spec.modules)
    page_elements = spec.num_layers * 2 * PAGE_TOKENS * spec.num_kv_heads * spec.head_dim
    tiles, tables = laid_out(pairs, len(spec.modules), NUM_PAGES * page_elements)
    model = load_model(spec, torch.float32, torch.device("cpu"), 64, lambda *_: None)
    dice = random.Random(0)
    tracks = [Track(dice.choices(range(VOCAB_SIZE), k=9), slot) for slot in (1, -1, 0, 1)]

    stepper = Stepper(model, spec, torch.float32, tiles, tables)
    logits = stepper.run(tracks, [[(0, 9), (1, 8), (2, 4)], [(3, 9), (2, 5), (1, 1)]])

    for track, ours in zip(tracks, logits, strict=True):
        reference: PreTrainedModel = AutoModelForCausalLM.from_pretrained(path)
        if track.slot >= 0:
            merge(reference, spec.modules, pairs, track.slot)
        with torch.no_grad():
            theirs = reference(torch.tensor([track.tokens])).logits[0]
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
