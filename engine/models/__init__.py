"""The model families motet serves.

A new one is a module beside `llama.py` and a line in MODELS; the parity tests pick it up there.
"""

from typing import Protocol

import torch
from torch import Tensor

from motet.engine.models import llama, mistral, qwen2, qwen3
from motet.engine.models.decoder import Decoder
from motet.engine.models.inputs import DeviceState, StepInputs
from motet.engine.models.linear import Packer, find_packer
from motet.engine.models.loader import Progress, Weights
from motet.engine.models.spec import ModelSpec, ReadTraits, read_spec
from motet.errors import ConfigError
from motet.kernels import LoraBatch

__all__ = [
    "MODELS",
    "Model",
    "ModelSpec",
    "Progress",
    "check_weights",
    "load_model",
    "read_config",
    "weights_bytes",
]


class Model(Protocol):
    """A decoder whose KV and adapters live in the arena."""

    def forward(self, inputs: StepInputs, state: DeviceState) -> Tensor:
        """Last hidden states of the tokens in `inputs.sample_index`: `[num_sampled, hidden_size]`.

        Writes the KV of every token of the step and `state.shrunk`; nothing else outlives the call.
        """

    def logits(self, hidden: Tensor, lora: LoraBatch | None, state: DeviceState) -> Tensor:
        """What follows, by last hidden states: float32 `[len(hidden), num_token_ids]`.

        `lora` are those of `hidden` that run on adapters. Writes `state.shrunk`.
        """


MODELS: dict[str, ReadTraits] = {
    "LlamaForCausalLM": llama.traits,
    "MistralForCausalLM": mistral.traits,
    "Qwen2ForCausalLM": qwen2.traits,
    "Qwen3ForCausalLM": qwen3.traits,
}
"""Architecture as config.json names it -> what reads the traits of its decoder."""


def read_config(directory: str) -> ModelSpec:
    """The facts of a model directory, without its weights.

    Raises ModelError unless the model can be served.
    """
    return read_spec(directory, MODELS)


def check_weights(spec: ModelSpec) -> None:
    """Raise ModelError unless the headers of the weights fit the spec. Allocates nothing.

    Tensors that are no part of the model are named in one warning.
    """
    _, weights = _build(spec, torch.float32, torch.device("meta"), max_model_len=1)
    weights.warn_of_others()


def weights_bytes(spec: ModelSpec, dtype: torch.dtype, device: torch.device) -> int:
    """Memory of the weights once loaded, by the headers of their files.

    Raises and warns as `check_weights`.

    Where weights are packed, a tied head is a second copy of the embedding. What a model computes
    rather than reads, such as its rotary table, is not counted.
    """
    _, weights = _build(spec, dtype, torch.device("meta"), max_model_len=1)
    weights.warn_of_others()
    has_copy = spec.is_tied and find_packer(dtype, device) is not None
    head_bytes = spec.num_token_ids * spec.hidden_size * dtype.itemsize
    return weights.num_bytes + (head_bytes if has_copy else 0)


def load_model(
    spec: ModelSpec,
    dtype: torch.dtype,
    device: torch.device,
    max_model_len: int,
    progress: Progress,
    *,
    is_deterministic: bool = False,
) -> Model:
    """Build the model and fill it from the safetensors files of its directory.

    Takes the memory of the weights plus one tensor. Raises ModelError for files that do not fit
    the spec. `max_model_len` is at most `spec.rope.num_positions`, if that is a number.
    `is_deterministic`: a row's products with the weights are the same in any batch, in every bit;
    raises ConfigError, before it reads a file, where nothing can promise that.
    """
    packer = find_packer(dtype, device, is_deterministic=is_deterministic)
    if is_deterministic and packer is None:
        raise ConfigError(
            f"products of {dtype} on {device} depend on the batch: install a C++ compiler and "
            "serve on a CPU, or leave out --deterministic"
        )
    model, weights = _build(spec, dtype, device, max_model_len, packer)
    weights.load(progress)
    return model


def _build(
    spec: ModelSpec,
    dtype: torch.dtype,
    device: torch.device,
    max_model_len: int,
    packer: Packer | None = None,
) -> tuple[Model, Weights]:
    """The model with its parameters still undefined."""
    weights = Weights(spec.directory, dtype, device, packer, is_tied=spec.is_tied)
    model = Decoder(spec, weights, max_model_len)
    weights.check_complete()
    return model, weights
