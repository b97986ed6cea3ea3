"""The parts decoders are made of; parameters come from `Weights`, everything else as arguments."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from motet.engine.models.inputs import DeviceState, StepInputs
from motet.engine.models.loader import Weights
from motet.engine.models.rope import Rotation
from motet.engine.models.spec import ModelSpec
from motet.kernels import AttentionPlan, ElementwiseKernels, LoraBatch


class RMSNorm:
    """Root mean square norm in float32 (arXiv:1910.07467)."""

    def __init__(self, weights: Weights, path: str, size: int, epsilon: float) -> None:
        self._weight = weights.tensor(f"{path}.weight", size)
        self._epsilon = epsilon

    def forward(
        self, kernels: ElementwiseKernels, x: Tensor, delta: Tensor | None = None
    ) -> Tensor:
        """The norm of `x` after `delta` was added to it, in place."""
        out = torch.empty_like(x)
        kernels.add_rms_norm(out, x, delta, self._weight, self._epsilon)
        return out

    def apply(self, kernels: ElementwiseKernels, x: Tensor) -> None:
        """Norm `x` in place."""
        kernels.add_rms_norm(x, x, None, self._weight, self._epsilon)


class LoraLinear:
    """Linear layers that read the same input, as one matrix, plus each row's adapter.

    `names` are consecutive modules of a layer; their outputs lie side by side.
    """

    def __init__(
        self, weights: Weights, spec: ModelSpec, layer: int, path: str, names: tuple[str, ...],
        *, has_bias: bool,
    ) -> None:  # fmt: skip
        of_layer = spec.layer_modules
        first = [module.name for module in of_layer].index(names[0])
        modules = of_layer[first : first + len(names)]
        self._site = layer * len(of_layer) + first  # none of them is so wide that it has several
        widths = [module.out_features for module in modules]
        self._out_start = tuple(accumulate(widths, initial=0))
        self._linear = weights.linear(
            weights.stack(
                [f"{path}.{name}.weight" for name in names], widths, modules[0].in_features
            ),
            weights.stack([f"{path}.{name}.bias" for name in names], widths) if has_bias else None,
        )

    def forward(self, x: Tensor, lora: LoraBatch | None, state: DeviceState) -> Tensor:
        """From `[num_tokens, in_features]` to the outputs of all modules, `[num_tokens, sum]`."""
        y = self._linear.forward(x)
        if lora is not None:
            at = (state.arena, state.tables, lora, self._site)
            shrunk = state.shrunk[: len(self._out_start) - 1, : len(lora.row_index)]
            state.kernels.lora_shrink(shrunk, x, *at)
            state.kernels.lora_expand(y, shrunk, *at, self._out_start)
        return y


class HeadNorm:
    """Norms each head: those of queries by one weight, those of keys by another."""

    def __init__(self, weights: Weights, spec: ModelSpec, path: str) -> None:
        self._query = RMSNorm(weights, f"{path}.q_norm", spec.head_dim, spec.norm_epsilon)
        self._key = RMSNorm(weights, f"{path}.k_norm", spec.head_dim, spec.norm_epsilon)
        self._num_heads = spec.num_heads

    def apply(self, kernels: ElementwiseKernels, heads: Tensor) -> None:
        """In place, of `[num_tokens, num_heads + num_kv_heads, head_dim]`, queries first."""
        query, key = heads.tensor_split([self._num_heads], dim=1)
        self._query.apply(kernels, query)
        self._key.apply(kernels, key)


@dataclass(frozen=True, slots=True)
class AttentionStep:
    """What the attention of all layers shares in one step."""

    rotation: Rotation
    plans: Mapping[int | None, AttentionPlan]
    """Of each window that layers have."""


class Attention:
    """Grouped-query attention (arXiv:2305.13245) over paged KV."""

    def __init__(self, weights: Weights, spec: ModelSpec, layer: int, path: str) -> None:
        at, traits = (weights, spec, layer, path), spec.traits
        self._qkv = LoraLinear(*at, ("q_proj", "k_proj", "v_proj"), has_bias=traits.has_qkv_bias)
        self._norm = HeadNorm(weights, spec, path) if traits.has_qk_norm else None
        self._out = LoraLinear(*at, ("o_proj",), has_bias=traits.has_output_bias)
        self._layer = layer
        self._window = traits.windows[layer]
        self._head_dim = spec.head_dim
        self._num_heads, self._num_kv_heads = spec.num_heads, spec.num_kv_heads

    def attend(
        self, x: Tensor, step: AttentionStep, inputs: StepInputs, state: DeviceState
    ) -> Tensor:
        """What each token sees, `[num_tokens, num_heads * head_dim]`; its KV is written first."""
        kernels = state.kernels
        heads = self._qkv.forward(x, inputs.lora, state).view(len(x), -1, self._head_dim)
        if self._norm is not None:
            self._norm.apply(kernels, heads[:, : self._num_heads + self._num_kv_heads])
        kernels.rotate_and_write_kv(
            heads, self._num_heads, step.rotation.cos, step.rotation.sin, state.kv, self._layer,
            inputs.attention.kv_index,
        )  # fmt: skip
        query = heads[:, : self._num_heads]
        attended = query.new_empty(query.shape)
        kernels.paged_attention(attended, query, state.kv, self._layer, step.plans[self._window])
        return attended.flatten(1)

    def project(self, attended: Tensor, lora: LoraBatch | None, state: DeviceState) -> Tensor:
        """Back to the stream: `[num_tokens, hidden_size]`."""
        return self._out.forward(attended, lora, state)


class GatedMLP:
    """down(silu(gate(x)) * up(x)) (arXiv:2002.05202)."""

    def __init__(self, weights: Weights, spec: ModelSpec, layer: int, path: str) -> None:
        at, has_bias = (weights, spec, layer, path), spec.traits.has_mlp_bias
        self._gate_up = LoraLinear(*at, ("gate_proj", "up_proj"), has_bias=has_bias)
        self._down = LoraLinear(*at, ("down_proj",), has_bias=has_bias)

    def forward(self, x: Tensor, lora: LoraBatch | None, state: DeviceState) -> Tensor:
        gate_up = self._gate_up.forward(x, lora, state)
        gated = gate_up.new_empty(len(gate_up), gate_up.shape[1] // 2)
        state.kernels.silu_mul(gated, gate_up)
        return self._down.forward(gated, lora, state)
