"""The decoder of every family, put together by the traits of its spec."""

from torch import Tensor
from torch.nn import functional

from motet.engine.device.inputs import DeviceState, StepInputs
from motet.engine.models.layers import Attention, GatedMLP, RMSNorm
from motet.engine.models.loader import Weights
from motet.engine.models.rope import RopeTable, Rotation
from motet.engine.models.spec import ModelSpec

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"


class Decoder:
    """Token ids to hidden states to logits; keys and values go into the pages the step names."""

    def __init__(self, spec: ModelSpec, weights: Weights, max_model_len: int) -> None:
        shape = (spec.vocab_size, spec.hidden_size)
        self._embedding = weights.tensor(EMBEDDING, *shape)
        self._layers = [_Layer(spec, weights, layer) for layer in range(spec.num_layers)]
        self._norm = RMSNorm(weights, "model.norm", spec.hidden_size, spec.norm_epsilon)
        head = weights.twin(HEAD, of=EMBEDDING) if spec.is_tied else weights.tensor(HEAD, *shape)
        self._head = weights.linear(head[: spec.num_token_ids])  # without the padding
        self._rope = RopeTable(spec.rope, max_model_len, weights.dtype, weights.device)

    def forward(self, inputs: StepInputs, state: DeviceState) -> Tensor:
        x = functional.embedding(inputs.token_ids, self._embedding)
        rotation = self._rope.at(inputs.positions)
        for layer in self._layers:
            x = layer.forward(x, rotation, inputs, state)
        return self._norm.forward(x[inputs.sample_index])

    def logits(self, hidden: Tensor) -> Tensor:
        return self._head.forward(hidden).float()


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
        self, x: Tensor, rotation: Rotation, inputs: StepInputs, state: DeviceState
    ) -> Tensor:
        x = x + self._attention.forward(self._attention_norm.forward(x), rotation, inputs, state)
        return x + self._mlp.forward(self._mlp_norm.forward(x), inputs, state)
