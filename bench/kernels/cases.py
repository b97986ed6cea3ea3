"""What is timed: each kernel on shapes of a model, and the least that a call must do.

The calls of a case take the layers of the model in turn, so that weights, adapters and KV come from
memory, as in a step; what one kernel writes and the next reads may still be in a cache, as there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from motet.bench.kernels.setting import LoraSetting, Setting, an_attention_batch
from motet.bench.random_model import RANKS
from motet.engine.models.linear import Linear, find_packer
from motet.kernels import DrawBatch, load_kernels
from motet.memory.geometry import Module

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Case:
    """One kernel on one shape."""

    shape: str
    num_bytes: int
    """That must be read and written at least."""
    flops: int
    calls: Callable[[str], Sequence[Call]]
    """Of a backend."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kernel, and the shapes it is timed on: arguments of `build`, first the rows."""

    build: Callable[..., Case]
    shapes: Sequence[tuple[Any, ...]]


SHORT_ROWS = (32, 2048)
"""A full step of decodes and one of prefills: all that a short run looks at."""


def cases(setting: Setting, names: Sequence[str], *, is_short: bool) -> list[tuple[str, Any]]:
    """(kernel, what makes the case) of each; a case holds all that it is called on."""
    return [
        (name, partial(KINDS[name].build, setting, *shape))
        for name in names
        for shape in KINDS[name].shapes
        if not is_short or shape[0] in SHORT_ROWS
    ]


def _add_rms_norm(setting: Setting, num_rows: int) -> Case:
    size = setting.shape.hidden_size
    x, delta, out = (setting.random(num_rows, size) for _ in range(3))
    weight = setting.random(size)

    def calls(backend: str) -> list[Call]:
        kernels = load_kernels(backend)
        return [lambda: kernels.add_rms_norm(out, x, delta, weight, 1e-5)]

    return Case(_rows(num_rows), 4 * x.nbytes, 6 * x.numel(), calls)


def _silu_mul(setting: Setting, num_rows: int) -> Case:
    width = setting.shape.intermediate_size
    gate_up, out = setting.random(num_rows, 2 * width), setting.random(num_rows, width)

    def calls(backend: str) -> list[Call]:
        kernels = load_kernels(backend)
        return [lambda: kernels.silu_mul(out, gate_up)]

    return Case(_rows(num_rows), 3 * out.nbytes, 4 * out.numel(), calls)


def _rotate_and_write_kv(setting: Setting, num_rows: int) -> Case:
    num_heads, num_kv_heads = _heads(setting)
    heads = setting.random(num_rows, num_heads + 2 * num_kv_heads, setting.head_dim)
    cos, sin = (setting.random(num_rows, setting.head_dim // 2) for _ in range(2))
    batch = an_attention_batch(num_rows, 1, 1)
    kv = setting.arena(num_rows).kv

    def calls(backend: str) -> list[Call]:
        call = load_kernels(backend).rotate_and_write_kv
        at = (heads, num_heads, cos, sin, kv)
        return [partial(call, *at, layer, batch.kv_index) for layer in _layers(setting)]

    turned = heads[:, : num_heads + num_kv_heads]
    stored_bytes = 2 * num_rows * setting.kv_width * setting.dtype.itemsize
    # Turned in place: read and written; keys and values are written once more, values read.
    num_bytes = 2 * turned.numel() * setting.dtype.itemsize + stored_bytes * 3 // 2
    return Case(_rows(num_rows), num_bytes + 2 * cos.nbytes, 3 * turned.numel(), calls)


def _prepare_attention(setting: Setting, num_queries: int, num_rows: int, context: int) -> Case:
    """Once a step, not once a layer."""
    num_heads, _ = _heads(setting)
    each = num_queries // num_rows
    batch = an_attention_batch(num_rows, each, context)
    kv = setting.arena(batch.page_table.numel()).kv

    def calls(backend: str) -> list[Call]:
        prepare = load_kernels(backend).prepare_attention
        return [partial(prepare, batch, kv, num_heads, setting.head_dim**-0.5, None)]

    return Case(f"{_rows(num_rows)}, {each:,} of {context:,}", batch.page_table.nbytes, 0, calls)


def _paged_attention(setting: Setting, num_queries: int, num_rows: int, context: int) -> Case:
    num_heads, _ = _heads(setting)
    query = setting.random(num_queries, num_heads, setting.head_dim)
    out = torch.empty_like(query)
    each = num_queries // num_rows
    batch = an_attention_batch(num_rows, each, context)
    kv = setting.arena(batch.page_table.numel()).kv

    def calls(backend: str) -> list[Call]:
        kernels = load_kernels(backend)
        plan = kernels.prepare_attention(batch, kv, num_heads, setting.head_dim**-0.5, None)
        attend = kernels.paged_attention
        return [partial(attend, out, query, kv, layer, plan) for layer in _layers(setting)]

    kv_bytes = 2 * num_rows * context * setting.kv_width * setting.dtype.itemsize
    num_seen = num_rows * (each * (context - each) + each * (each + 1) // 2)
    return Case(
        f"{_rows(num_rows)}, {each:,} of {context:,}",
        kv_bytes + 2 * query.nbytes,
        4 * num_seen * num_heads * setting.head_dim,
        calls,
    )


def _lora_shrink(setting: Setting, num_rows: int, names: str, ranks: tuple[int, ...]) -> Case:
    modules = _modules(setting, names)
    x = setting.random(num_rows, modules[0].in_features)
    lora = LoraSetting.of(setting, modules, ranks, setting.shape.num_hidden_layers)
    batch = lora.batch(num_rows)
    shrunk = torch.zeros(len(modules), num_rows, max(ranks))

    def calls(backend: str) -> list[Call]:
        shrink = load_kernels(backend).lora_shrink
        at = (shrunk, x, lora.arena, lora.tables, batch)
        return [partial(shrink, *at, layer * len(modules)) for layer in _layers(setting)]

    width = sum(module.in_features for module in modules)
    shrunk_bytes = 4 * len(modules) * lora.rank_rows(num_rows)
    return _lora_case(setting, lora, names, num_rows, width, x.nbytes + shrunk_bytes, calls)


def _lora_expand(setting: Setting, num_rows: int, names: str, ranks: tuple[int, ...]) -> Case:
    modules = _modules(setting, names)
    width = sum(module.out_features for module in modules)
    y = setting.random(num_rows, width)
    lora = LoraSetting.of(setting, modules, ranks, setting.shape.num_hidden_layers)
    batch = lora.batch(num_rows)
    shrunk = torch.zeros(len(modules), num_rows, max(ranks))
    ends = torch.tensor([0, *(module.out_features for module in modules)]).cumsum(0)
    out_start = tuple(ends.tolist())

    def calls(backend: str) -> list[Call]:
        expand = load_kernels(backend).lora_expand
        at = (y, shrunk, lora.arena, lora.tables, batch)
        return [partial(expand, *at, layer * len(modules), out_start) for layer in _layers(setting)]

    shrunk_bytes = 4 * len(modules) * lora.rank_rows(num_rows)
    return _lora_case(setting, lora, names, num_rows, width, 2 * y.nbytes + shrunk_bytes, calls)


def _lora_embed(setting: Setting, num_rows: int, ranks: tuple[int, ...]) -> Case:
    """Of the one embedding that a model has."""
    num_inputs = setting.shape.vocab_size
    module = Module("embed_tokens", num_inputs, setting.shape.hidden_size, is_embedding=True)
    token_ids = torch.randint(num_inputs, (num_rows,))
    lora = LoraSetting.of(setting, (module,), ranks, num_layers=1)
    batch = lora.batch(num_rows)
    shrunk = torch.zeros(1, num_rows, max(ranks))

    def calls(backend: str) -> list[Call]:
        embed = load_kernels(backend).lora_embed
        return [partial(embed, shrunk, token_ids, lora.arena, lora.tables, batch, 0, num_inputs)]

    num_elements = lora.rank_rows(num_rows)
    num_bytes = num_elements * (setting.dtype.itemsize + 4) + token_ids.nbytes
    kind = "mixed" if len(set(ranks)) > 1 else f"rank {ranks[0]}"
    return Case(f"{_rows(num_rows)}, {len(ranks)} x {kind}", num_bytes, num_elements, calls)


def _lora_case(
    setting: Setting, lora: LoraSetting, names: str, num_rows: int, width: int,
    row_bytes: int, calls: Callable[[str], Sequence[Call]],
) -> Case:  # fmt: skip
    """`width` is that of the tiles of all modules side by side, `row_bytes` what rows move."""
    ranks = "mixed" if len(set(lora.ranks)) > 1 else f"rank {lora.ranks[0]}"
    tile_bytes = sum(lora.ranks[:num_rows]) * width * setting.dtype.itemsize
    return Case(
        f"{names}, {_rows(num_rows)}, {len(lora.ranks)} x {ranks}",
        tile_bytes + row_bytes,
        2 * lora.rank_rows(num_rows) * width,
        calls,
    )


def _draw(setting: Setting, num_rows: int, temperature: float, top_p: float) -> Case:
    """Logits are float32 in every dtype of an engine."""
    logits = torch.randn(num_rows, setting.shape.vocab_size)
    token_ids = torch.empty(num_rows, dtype=torch.int64)
    batch = DrawBatch(
        temperature=torch.full((num_rows,), temperature, dtype=torch.float64),
        top_k=torch.zeros(num_rows, dtype=torch.int64),
        top_p=torch.full((num_rows,), top_p, dtype=torch.float64),
        min_p=torch.zeros(num_rows, dtype=torch.float64),
        number=torch.rand(num_rows, dtype=torch.float64),
    )

    def calls(backend: str) -> list[Call]:
        kernels = load_kernels(backend)
        return [lambda: kernels.draw(token_ids, logits, batch)]

    how = f"temperature {temperature:g}, top-p {top_p:g}"
    return Case(f"{_rows(num_rows)}, {how}", logits.nbytes, 2 * logits.numel(), calls)


def _linear(setting: Setting, num_rows: int, names: str) -> Case:
    """What no backend has: the engine's product, packed where it can be, and that of torch."""
    shape = setting.shape
    if names == "lm_head":
        sizes, copies = (shape.vocab_size, shape.hidden_size), 1
    else:
        modules, copies = _modules(setting, names), shape.num_hidden_layers
        sizes = (sum(module.out_features for module in modules), modules[0].in_features)
    weights = [setting.random(*sizes) for _ in range(copies)]
    x = setting.random(num_rows, sizes[1])

    def calls(backend: str) -> list[Call]:
        if backend == "reference":
            return [partial(functional.linear, x, weight) for weight in weights]
        linears = [Linear(weight) for weight in weights]
        packer = find_packer(setting.dtype, x.device)
        if packer is not None:
            for linear in linears:
                linear.pack(packer)
        return [partial(linear.forward, x) for linear in linears]

    num_bytes = weights[0].nbytes + x.nbytes + num_rows * sizes[0] * setting.dtype.itemsize
    return Case(f"{names}, {_rows(num_rows)}", num_bytes, 2 * num_rows * sizes[0] * sizes[1], calls)


def _rows(num_rows: int) -> str:
    return f"{num_rows:,} row{'s' if num_rows > 1 else ''}"


def _layers(setting: Setting) -> range:
    return range(setting.shape.num_hidden_layers)


def _heads(setting: Setting) -> tuple[int, int]:
    return setting.shape.num_attention_heads, setting.shape.num_key_value_heads


def _modules(setting: Setting, names: str) -> tuple[Module, ...]:
    hidden, kv = setting.shape.hidden_size, setting.kv_width
    width = setting.shape.intermediate_size
    shapes = {
        "q": (hidden, hidden),
        "k": (hidden, kv),
        "v": (hidden, kv),
        "o": (hidden, hidden),
        "gate": (hidden, width),
        "up": (hidden, width),
        "down": (width, hidden),
    }
    return tuple(Module(f"{name}_proj", *shapes[name]) for name in names.split("+"))


ROWS = [(num_rows,) for num_rows in (1, 8, 32, 256, 2048)]
ATTENTION = (
    *((1, 1, 1024), (8, 8, 1024), (32, 32, 1024), (256, 256, 128)),  # decodes
    *((256, 1, 2048), (2048, 16, 128), (2048, 1, 2048)),  # prefills
)
MIXED = tuple(RANKS[slot % len(RANKS)] for slot in range(16))
LORA = (
    *((1, "q+k+v", (16,)), (8, "q+k+v", (16,) * 8)),
    *((32, "q+k+v", (16,)), (32, "q+k+v", (8,) * 16), (32, "q+k+v", (64,) * 16)),
    *((32, "q+k+v", MIXED), (32, "o", MIXED), (32, "gate+up", MIXED), (256, "q+k+v", MIXED)),
    *((2048, "q+k+v", (16,)), (2048, "q+k+v", MIXED)),
)
LINEAR = [
    *((n, names) for names in ("q+k+v", "o", "gate+up", "down") for (n,) in ROWS),
    *((n, "lm_head") for n in (1, 8, 32, 256)),
]

DRAWS = [(n, *how) for n in (1, 32, 256) for how in ((0.0, 1.0), (1.0, 1.0), (1.0, 0.9))]

KINDS = {
    "add_rms_norm": Kind(_add_rms_norm, ROWS),
    "silu_mul": Kind(_silu_mul, ROWS),
    "rotate_and_write_kv": Kind(_rotate_and_write_kv, ROWS),
    "prepare_attention": Kind(_prepare_attention, ATTENTION),
    "paged_attention": Kind(_paged_attention, ATTENTION),
    "lora_shrink": Kind(_lora_shrink, LORA),
    "lora_expand": Kind(_lora_expand, LORA),
    "lora_embed": Kind(_lora_embed, [(n, MIXED) for n in (1, 32, 256, 2048)]),
    "draw": Kind(_draw, DRAWS),
    "linear": Kind(_linear, LINEAR),
}
