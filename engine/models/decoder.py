"""The decoder of every family, put together by the traits of its spec."""

from torch import Tensor

from motet.engine.models.ends import Embedding, Head
from motet.engine.models.inputs import DeviceState, StepInputs
from motet.engine.models.layers import Attention, AttentionStep, GatedMLP, RMSNorm
from motet.engine.models.loader import Weights
from motet.engine.models.rope import RopeTable
from motet.engine.models.spec import ModelSpec
from motet.kernels import LoraBatch


class Decoder:
    """Token ids to hidden states to logits; keys and values go into the pages the step names."""

    def __init__(self, spec: ModelSpec, weights: Weights, max_model_len: int) -> None:
        self._embedding = Embedding(spec, weights)
        self._layers = [_Layer(spec, weights, layer) for layer in range(spec.num_layers)]
        self._norm = RMSNorm(weights, "model.norm", spec.hidden_size, spec.norm_epsilon)
        self._head = Head(spec, weights)
        self._num_heads, self._head_dim = spec.num_heads, spec.head_dim
        self._windows = set(spec.traits.windows)
        self._rope = RopeTable(spec.rope, max_model_len, weights.dtype, weights.device)

    def forward(self, inputs: StepInputs, state: DeviceState) -> Tensor:
        stream = self._embedding.forward(inputs, state)
        step = self._begin(inputs, state)
        delta = None
        for layer in self._layers[:-1]:
            delta = layer.forward(stream, delta, step, inputs, state)
        stream, delta = self._layers[-1].finish(stream, delta, step, inputs, state)
        return self._norm.forward(state.kernels, stream, delta)

    def _begin(self, inputs: StepInputs, state: DeviceState) -> AttentionStep:
        prepare, scale = state.kernels.prepare_attention, self._head_dim**-0.5
        plans = {
            window: prepare(inputs.attention, state.kv, self._num_heads, scale, window)
            for window in self._windows
        }
        return AttentionStep(self._rope.at(inputs.positions), plans)

    def logits(self, hidden: Tensor, lora: LoraBatch | None, state: DeviceState) -> Tensor:
        return self._head.forward(hidden, lora, state)


class _Layer:
    """Attention, then MLP; each reads a norm of the stream and adds to it."""

    def __init__(self, spec: ModelSpec, weights: Weights, layer: int) -> None:
        path = f"model.layers.{layer}"
        norm = (spec.hidden_size, spec.norm_epsilon)
        self._attention_norm = RMSNorm(weights, f"{path}.input_layernorm", *norm)
        self._attention = Attention(weights, spec, layer, f"{path}.self_attn")
        self._mlp_norm = RMSNorm(weights, f"{path}.post_attention_layernorm", *norm)
        self._mlp = GatedMLP(weights, spec, layer, f"{path}.mlp")

    def forward(
        self, stream: Tensor, delta: Tensor | None, step: AttentionStep, inputs: StepInputs,
        state: DeviceState,
    ) -> Tensor:  # fmt: skip
        """Add `delta` and this attention to the stream; returns what the MLP adds."""
        attended = self._attend(stream, delta, step, inputs, state)
        return self._think(stream, attended, inputs.lora, state)

    def finish(
        self, stream: Tensor, delta: Tensor | None, step: AttentionStep, inputs: StepInputs,
        state: DeviceState,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """The same for the last layer: the stream and what is added, of the sampled tokens only.

        Of all others only keys and values are ever read.
        """
        sampled = inputs.sample_index
        attended = self._attend(stream, delta, step, inputs, state)[sampled]
        stream = stream[sampled]
        return stream, self._think(stream, attended, inputs.sampled_lora, state)

    def _attend(
        self, stream: Tensor, delta: Tensor | None, step: AttentionStep, inputs: StepInputs,
        state: DeviceState,
    ) -> Tensor:  # fmt: skip
        x = self._attention_norm.forward(state.kernels, stream, delta)
        return self._attention.attend(x, step, inputs, state)

    def _think(
        self, stream: Tensor, attended: Tensor, lora: LoraBatch | None, state: DeviceState
    ) -> Tensor:
        delta = self._attention.project(attended, lora, state)
        return self._mlp.forward(self._mlp_norm.forward(state.kernels, stream, delta), lora, state)
