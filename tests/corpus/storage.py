"""How the weights of a model lie in its directory."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file, save_model
from torch import Tensor
from transformers import PreTrainedModel

WEIGHTS_FILE = "model.safetensors"

Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Storage:
    """Writes the weights of a model that `save_pretrained` has saved in one file."""

    write: Callable[[PreTrainedModel, Path], object]
    needs_tied: bool = False
    judged_as: str = ""
    """The storage in which transformers finds the same tensors, where it does not in this."""
    refusal: str = ""


def _as_saved(model: PreTrainedModel, directory: Path) -> None:
    """One file, as `save_pretrained` writes it."""


def _sharded(model: PreTrainedModel, directory: Path) -> None:
    (directory / WEIGHTS_FILE).unlink()
    model.save_pretrained(directory, max_shard_size="60KB")


def _by_save_model(model: PreTrainedModel, directory: Path) -> None:
    """Of tied tensors the alphabetically first stays, which is the head."""
    save_model(model, str(directory / WEIGHTS_FILE))


def _plus(
    make: Callable[[PreTrainedModel, Tensors], Tensors],
) -> Callable[[PreTrainedModel, Path], None]:
    def write(model: PreTrainedModel, directory: Path) -> None:
        tensors = load_file(directory / WEIGHTS_FILE)
        save_file(tensors | make(model, tensors), directory / WEIGHTS_FILE, {"format": "pt"})

    return write


def _twin(model: PreTrainedModel, tensors: Tensors) -> Tensors:
    return {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}


def _value_head(model: PreTrainedModel, tensors: Tensors) -> Tensors:
    """As TRL's models with a value head are saved."""
    hidden = model.config.hidden_size
    return {"v_head.summary.weight": torch.ones(1, hidden), "v_head.summary.bias": torch.ones(1)}


def _reward_head(model: PreTrainedModel, tensors: Tensors) -> Tensors:
    return {"value_head.weight": torch.ones(1, model.config.hidden_size)}


def _frequencies(model: PreTrainedModel, tensors: Tensors) -> Tensors:
    """As checkpoints of 2023 hold them."""
    name = "model.layers.{}.self_attn.rotary_emb.inv_freq"
    return {name.format(layer): torch.ones(8) for layer in range(model.config.num_hidden_layers)}


def _renamed(
    rename: Callable[[str], str],
) -> Callable[[PreTrainedModel, Path], None]:
    def write(model: PreTrainedModel, directory: Path) -> None:
        tensors = load_file(directory / WEIGHTS_FILE)
        renamed = {rename(name): tensor for name, tensor in tensors.items()}
        save_file(renamed, directory / WEIGHTS_FILE, {"format": "pt"})

    return write


def _bias_inside(model: PreTrainedModel, tensors: Tensors) -> Tensors:
    return {"model.layers.0.self_attn.o_proj.bias": torch.ones(model.config.hidden_size)}


def _layer_too_many(model: PreTrainedModel, tensors: Tensors) -> Tensors:
    of_first = {name: tensor for name, tensor in tensors.items() if ".layers.0." in name}
    return {name.replace(".0.", ".7."): tensor.clone() for name, tensor in of_first.items()}


STORAGES = {
    "one-file": Storage(_as_saved),
    "sharded": Storage(_sharded),
    "save-model": Storage(_by_save_model),
    "both-stored": Storage(_plus(_twin), needs_tied=True),
    "value-head": Storage(_plus(_value_head)),
    "reward-head": Storage(_plus(_reward_head)),
    "old-frequencies": Storage(_plus(_frequencies)),
    "compiled": Storage(_renamed("_orig_mod.{}".format), judged_as="one-file"),
    "distributed": Storage(_renamed("module.{}".format), judged_as="one-file"),
    "headless": Storage(
        _renamed(lambda name: name.removeprefix("model.")), needs_tied=True, judged_as="one-file"
    ),
    "bias-inside": Storage(_plus(_bias_inside), refusal="o_proj.bias"),
    "layer-too-many": Storage(_plus(_layer_too_many), refusal="layers.7"),
}
"""Name -> how. transformers drops tensors it does not know; inside the layers they are wrong."""
