"""Llama and every model of exactly its shape (arXiv:2302.13971, 2307.09288, 2407.21783)."""

import torch
from torch import Tensor
from torch.nn import functional

from motet.engine.device.inputs import DeviceState, StepInputs
from motet.engine.models.layers import GatedMLP, LoraLinear, RMSNorm
from motet.engine.models.loader import Weights
from motet.engine.models.rope import RopeTable, Rotation
from motet.engine.models.spec import ModelSpec

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"


class Llama:
    """Token ids to hidden states to logits; keys and values go into the pages the step names."""

    def __init__(self, spec: ModelSpec, weights: Weights, max_model_len: int) -> None:
        shape = (spec.vocab_size, spec.hidden_size)
        self._embedding = weights.tensor(EMBEDDING, *shape)
        self._layers = [_Layer(spec, weights, layer) for layer in range(spec.num_layers)]
        self._norm = RMSNorm(weights, "model.norm", spec.hidden_size, spec.norm_epsilon)
        self._head = (
            weights.twin(HEAD, of=EMBEDDING) if spec.is_tied else weights.tensor(HEAD, *shape)
        )
        self._rope = RopeTable(spec.rope, max_model_len, weights.dtype, weights.device)

    def forward(self, inputs: StepInputs, state: DeviceState) -> Tensor:
        x = functional.embedding(inputs.token_ids, self._embedding)
        rotation = self._rope.at(inputs.positions)
        for layer in self._layers:
            x = layer.forward(x, rotation, inputs, state)
        return self._norm.forward(x[inputs.sample_index])

    def logits(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self._head).float()


class _Layer:
    def __init__(self, spec: ModelSpec, weights: Weights, layer: int) -> None:
        path = f"model.layers.{layer}"
        norm = (spec.hidden_size, spec.norm_epsilon)
        self._attention_norm = RMSNorm(weights, f"{path}.input_layernorm", *norm)
        self._attention = _Attention(spec, weights, layer, f"{path}.self_attn")
        self._mlp_norm = RMSNorm(weights, f"{path}.post_attention_layernorm", *norm)
        self._mlp = GatedMLP(
            weights, spec.geometry, layer, f"{path}.mlp", has_bias=spec.has_mlp_bias
        )

    def forward(
        self, x: Tensor, rotation: Rotation, inputs: StepInputs, state: DeviceState
    ) -> Tensor:
        x = x + self._attention.forward(self._attention_norm.forward(x), rotation, inputs, state)
        return x + self._mlp.forward(self._mlp_norm.forward(x), inputs, state)


class _Attention:
    """Grouped-query attention (arXiv:2305.13245) over paged KV."""

    def __init__(self, spec: ModelSpec, weights: Weights, layer: int, path: str) -> None:
        at = (weights, spec.geometry, layer, path)
        has_bias = spec.has_attention_bias
        self._qkv = LoraLinear(*at, ("q_proj", "k_proj", "v_proj"), has_bias=has_bias)
        self._out = LoraLinear(*at, ("o_proj",), has_bias=has_bias)
        self._layer = layer
        self._head_dim = spec.head_dim
        self._num_heads, self._num_kv_heads = spec.num_heads, spec.num_kv_heads

    def forward(
        self, x: Tensor, rotation: Rotation, inputs: StepInputs, state: DeviceState
    ) -> Tensor:
        heads = self._qkv.forward(x, inputs, state).view(len(x), -1, self._head_dim)
        turned, value = heads.tensor_split([self._num_heads + self._num_kv_heads], dim=1)
        query, key = rotation.apply(turned).tensor_split([self._num_heads], dim=1)
        state.kernels.write_kv(state.kv, self._layer, key, value, inputs.attention.kv_slot)
        attended = torch.empty_like(query)
        state.kernels.paged_attention(
            attended, query, state.kv, self._layer, inputs.attention, self._head_dim**-0.5, None
        )
        return self._out.forward(attended.flatten(1), inputs, state)
