"""Every operation the engine needs from a device, with one signature for all backends.

Operations come in groups, and each group may come from another backend.

A kernel knows tensors, not requests. The arena is one flat tensor of the engine's dtype,
`[num_pages * page_elements]`; `kv` is its view
`[num_pages, num_layers, 2, page_tokens, num_kv_heads, head_dim]`. LoRA tiles are found through
tables of element offsets into the arena.
"""

import importlib
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol, cast

from torch import Tensor

NO_GAIN = -1
"""`LoraTables.gain_offset` where the outputs are not rescaled."""

CHUNK_ROWS = 16
"""Most rows of one adapter in a chunk: the M of one tensor-core tile."""


@dataclass(frozen=True, slots=True)
class AttentionBatch:
    """Where the queries of each row start and which pages hold its KV.

    Row i owns queries `query_start[i]:query_start[i + 1]`, the last of its `context_len[i]`
    positions; position p lies in page `page_table[i, p // page_tokens]` at `p % page_tokens`.
    """

    query_start: Tensor  # int32 [num_rows + 1]
    context_len: Tensor  # int32 [num_rows]
    page_table: Tensor  # int32 [num_rows, max_pages], tail padded with 0
    kv_index: Tensor  # int64 [num_tokens], page * page_tokens + offset of each new token
    max_query_len: int


@dataclass(frozen=True, slots=True)
class LoraTables:
    """Where the tiles of the adapter in each slot lie, its ranks and scales.

    A site is a place in the model that adapters may change. `a_offset[slot, site, group]` is the
    element offset of one tile of A in the arena, `[tile_ranks, in]`, and `b_offset` of one of B
    transposed, `[tile_ranks, out]`. Rank 0 means not targeted. A matrix with more than `tile_width`
    columns is cut into parts of that width, the last one narrower, at consecutive sites of equal
    rank and scale.

    Outputs may be rescaled after the sum (DoRA, arXiv:2402.09353): where `gain_offset` is not
    NO_GAIN, gains and shifts `[2, out]` lie there, and an output v becomes gain * v + shift.
    """

    a_offset: Tensor  # int64 [slots, sites, groups]
    b_offset: Tensor  # the same
    rank: Tensor  # int32 [slots, sites]
    scale: Tensor  # float32 [slots, sites], applied to the fp32 shrink result
    gain_offset: Tensor  # int64 [slots, sites]
    tile_ranks: int
    tile_width: int


@dataclass(frozen=True, slots=True)
class LoraBatch:
    """The token rows that run on adapters, sorted by slot and cut into chunks of one slot.

    Chunk c covers `row_index[chunk_start[c] : chunk_start[c] + chunk_len[c]]`; chunks from
    `num_chunks` on are padding.
    """

    row_index: Tensor  # int32 [num_lora_rows], row of x and y of each sorted row
    chunk_slot: Tensor  # int32 [max_chunks]
    chunk_start: Tensor  # int32 [max_chunks]
    chunk_len: Tensor  # int32 [max_chunks], 1..CHUNK_ROWS
    num_chunks: Tensor  # int32 [1]


@dataclass(frozen=True, slots=True)
class DrawBatch:
    """How to draw a token of each row of logits, and the number that decides which."""

    temperature: Tensor  # float64 [num_rows], 0 takes the lowest id among equal maxima
    top_k: Tensor  # int64 [num_rows], 0 keeps all
    top_p: Tensor  # float64 [num_rows], 1 keeps all
    min_p: Tensor  # float64 [num_rows], 0 keeps all
    number: Tensor  # float64 [num_rows], in [0, 1)


AttentionPlan = Any
"""What a backend's `prepare_attention` returns and its `paged_attention` takes: its own affair."""


class ElementwiseKernels(Protocol):
    """Norms and gates. Here and below, all outputs are written in place."""

    def add_rms_norm(
        self, out: Tensor, x: Tensor, delta: Tensor | None, weight: Tensor, epsilon: float
    ) -> None:
        """x += delta, unless that is None; then out = weight * x / rms(x), in fp32.

        x and out are `[..., size]` with `size` contiguous, and may be the same tensor; delta is
        contiguous. Rounded after the sum and before the weight, as transformers does.
        """

    def silu_mul(self, out: Tensor, gate_up: Tensor) -> None:
        """out = silu(gate) * up, of `[num_tokens, 2 * width]` with the gate first."""


class AttentionKernels(Protocol):
    """KV in pages: written, and attended to."""

    def prepare_attention(
        self, batch: AttentionBatch, kv: Tensor, num_heads: int, scale: float, window: int | None
    ) -> AttentionPlan:
        """What is the same in all layers of a step that have this window, found once before them.

        Scores are scaled by `scale`. The query at position p sees positions
        `max(0, p - window + 1)` to p, or all up to p when `window` is None. Of kv only the shape
        is looked at.
        """

    def rotate_and_write_kv(
        self, heads: Tensor, num_heads: int, cos: Tensor, sin: Tensor, kv: Tensor, layer: int,
        kv_index: Tensor,
    ) -> None:  # fmt: skip
        """Turn queries and keys in place by their positions, then store keys and values.

        heads is `[num_tokens, num_heads + 2 * num_kv_heads, head_dim]`: queries, keys, values.
        cos and sin, `[num_tokens, head_dim / 2]`, turn dimension i with `head_dim / 2 + i`. Token
        i goes to place `kv_index[i]` = page * page_tokens + offset, int64.
        """

    def paged_attention(
        self, out: Tensor, query: Tensor, kv: Tensor, layer: int, plan: AttentionPlan
    ) -> None:
        """Causal attention of query and out `[num_tokens, num_heads, head_dim]` over paged KV.

        `plan` is that of the step, for the window of this layer. What no query sees, in the pages
        of a row too, may hold anything.
        """


class LoraKernels(Protocol):
    """What adapters add to the outputs of linear layers and to the two ends of a model."""

    def lora_shrink(
        self, shrunk: Tensor, x: Tensor, arena: Tensor, tables: LoraTables, batch: LoraBatch,
        site: int,
    ) -> None:  # fmt: skip
        """shrunk[s, i, :rank] = scale * A[site + s] @ x[row_index[i]], in fp32.

        shrunk is fp32 `[num_slices, num_lora_rows, max_rank]`; x is `[num_tokens, in_features]`.
        Slices are consecutive sites that read the same x (q, k, v or gate, up). Columns at or
        beyond the row's rank are undefined.
        """

    def lora_embed(
        self, shrunk: Tensor, token_ids: Tensor, arena: Tensor, tables: LoraTables,
        batch: LoraBatch, site: int, num_inputs: int,
    ) -> None:  # fmt: skip
        """shrunk[0, i, :rank] = scale * A[:, token_ids[row_index[i]]], in fp32.

        The shrink of an embedding. token_ids is int64 `[num_tokens]`; A has `num_inputs` columns,
        one for each id, and takes as many sites as it has parts. shrunk is as in `lora_shrink`.
        """

    def lora_expand(
        self, y: Tensor, shrunk: Tensor, arena: Tensor, tables: LoraTables, batch: LoraBatch,
        site: int, out_start: tuple[int, ...],
    ) -> None:  # fmt: skip
        """y[row_index[i], out_start[s]:out_start[s + 1]] += B[site + s] @ shrunk[s, i, :rank].

        y is `[num_tokens, out_start[-1]]`: the outputs of all slices side by side. Those of a
        targeted site with gains are then rescaled. The slices of shrunk may be one and the same.
        """


class DrawKernels(Protocol):
    """Tokens from logits."""

    def draw(self, token_ids: Tensor, logits: Tensor, batch: DrawBatch) -> None:
        """token_ids[i] = the token that row i draws: the inverse of its CDF in the order of ids.

        token_ids is int64 `[num_rows]`, logits float32 `[num_rows, vocab]`; -inf is never drawn.
        Logits are divided by the temperature, then top-k counts, top-p asks for the least tokens
        with that share of what top-k left, and min-p for a share of the largest probability.
        Tokens of equal logits stay or go together. A row whose largest logit is not finite, or
        that has a NaN, gets any number.
        """


class Kernels(ElementwiseKernels, AttentionKernels, LoraKernels, DrawKernels, Protocol):
    """One of each group, as `load_kernels` puts them together."""


GROUPS: dict[str, type] = {
    "elementwise": ElementwiseKernels,
    "attention": AttentionKernels,
    "lora": LoraKernels,
    "draw": DrawKernels,
}

CPU, REFERENCE, TRITON = (f"motet.kernels.{name}" for name in ("cpu", "reference", "triton"))

BACKENDS = {
    "cpu": dict.fromkeys(GROUPS, CPU),
    "reference": dict.fromkeys(GROUPS, REFERENCE),
    "triton": dict.fromkeys(GROUPS, REFERENCE) | {"attention": TRITON, "lora": TRITON},
}
"""Backend -> group -> the module with its functions."""


def operations(group: str) -> tuple[str, ...]:
    """The names of a group's functions."""
    return tuple(name for name in vars(GROUPS[group]) if not name.startswith("_"))


def load_kernels(backend: str, **others: str) -> Kernels:
    """Those of a backend, but for `others`: the backend of a group, as in `lora="reference"`.

    Imports their modules; what these depend on is needed only now.
    """
    modules = {
        group: importlib.import_module(BACKENDS[others.get(group, backend)][group])
        for group in GROUPS.keys() | others.keys()
    }
    functions = {
        name: getattr(module, name)
        for group, module in modules.items()
        for name in operations(group)
    }
    return cast(Kernels, SimpleNamespace(**functions))
