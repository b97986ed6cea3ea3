"""Copies of the base model's own tensors, which PEFT saves beside A and B."""

import torch
from torch import Tensor

from motet.memory.device.base_tensors import BaseTensors
from motet.memory.device.peft_names import parameter_name

EMBEDDINGS = {"model.embed_tokens.weight": "embedding", "lm_head.weight": "head"}

CHUNK_ROWS = 4096
"""Rows that are compared at once: a copy of an embedding may be larger than the memory left."""


def fault_of_copy(name: str, copy: Tensor, base: BaseTensors, remedy: str) -> str | None:
    """Why a tensor that is no LoRA matrix cannot be skipped, "" where it can.

    PEFT loads such a tensor over the base's. It changes nothing where it is the base's tensor in
    the precision of the copy. None where the base has no tensor of that name. Of a copy on the
    meta device only the shape is compared.
    """
    parameter = parameter_name(name)
    original = base.tensor(parameter)
    if original is None:
        return None
    if original.shape != copy.shape:
        return _misfit(name, parameter, copy, original)
    if copy.is_meta or _are_equal(copy, original):
        return ""
    return (
        f"tensor '{name}' replaces the model's '{parameter}', whose values differ: if they were "
        f"trained, {remedy}, else serve the model the adapter was trained for"
    )


def _misfit(name: str, parameter: str, copy: Tensor, original: Tensor) -> str:
    kind = EMBEDDINGS.get(parameter)
    is_resized = kind and copy.dim() == 2 and copy.shape[1:] == original.shape[1:]
    if is_resized:
        return (
            f"tensor '{name}' replaces the {kind} ({len(copy)} rows, the model has "
            f"{len(original)}): serve the resized model"
        )
    return (
        f"tensor '{name}' has shape {list(copy.shape)}, the model's '{parameter}' has "
        f"{list(original.shape)}: serve the model the adapter was trained for"
    )


def _are_equal(copy: Tensor, original: Tensor) -> bool:
    if not copy.is_floating_point():
        return False
    return all(
        torch.equal(copy[start : start + CHUNK_ROWS], part.to(copy.dtype))
        for start in range(0, len(copy), CHUNK_ROWS)
        for part in [original[start : start + CHUNK_ROWS]]
    )
