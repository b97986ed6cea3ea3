"""Which tensors a model directory holds, by the headers of its files alone."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from motet.errors import ModelError
from motet.file_names import ADAPTER_CONFIG, MODEL_WEIGHTS, MODEL_WEIGHTS_INDEX
from motet.memory.device.files import MODEL, opened_tensors, read_json

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"

ELEMENT_BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}
"""The stored formats that can be cast to the engine's."""

DTYPE_NAMES = {"F64": "float32", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}
"""Stored format -> the dtype that is served, as config.json would name it."""

SHARD = re.compile(r"[\w.-]+\.safetensors", re.ASCII)
"""A file name, not a path: all files of a model are in its directory."""

WRAPPERS = re.compile(r"(?:\b(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.)+")
OUTER = re.compile(r"(?:module\.)*(?:model\.(?=model\.|lm_head\.))?")
"""What torch.compile, FSDP, checkpointing and data parallelism put around the modules they wrap."""

BASE_MODEL = re.compile(r"(?:embed_tokens|layers|norm)\.")
"""Beginnings of the names where the model was saved without its head: `model.` is left out."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as the header of its file describes it."""

    file: Path
    key: str
    """Its name in the file."""
    shape: tuple[int, ...]
    dtype: str

    @property
    def num_bytes(self) -> int:
        """Of a format that can be cast."""
        return torch.Size(self.shape).numel() * ELEMENT_BYTES[self.dtype]

    def mapped(self) -> Tensor:
        """Its values, read from the file only where they are touched."""
        with opened_tensors(self.file, MODEL) as file:
            tensor: Tensor = file.get_tensor(self.key)
        return tensor


def list_tensors(directory: Path, *, is_tied: bool) -> dict[str, StoredTensor]:
    """Every tensor of the checkpoint by its name in the model, in the order of the files.

    Names of wrappers are no part of it. Of a tied model the one matrix is the embedding, even
    where it is stored as the head only, as `safetensors.torch.save_model` does. Raises ModelError
    for files that are missing or broken, and for a tensor that is there twice.
    """
    tensors: dict[str, StoredTensor] = {}
    for path in weight_files(directory):
        with opened_tensors(path, MODEL) as file:
            for key in file.keys():  # noqa: SIM118 (not a mapping)
                header = file.get_slice(key)
                tensor = StoredTensor(path, key, tuple(header.get_shape()), header.get_dtype())
                name = _name_in_model(key)
                if name in tensors:
                    raise _stored_twice(tensors[name], tensor)
                tensors[name] = tensor
    if is_tied and HEAD in tensors and EMBEDDING not in tensors:
        tensors[EMBEDDING] = tensors.pop(HEAD)
    return tensors


def stored_dtype(directory: Path) -> str:
    """The dtype of most stored elements: that of the model where config.json names none."""
    counts: Counter[str] = Counter()
    for tensor in list_tensors(directory, is_tied=False).values():
        if tensor.dtype in DTYPE_NAMES:
            counts[DTYPE_NAMES[tensor.dtype]] += torch.Size(tensor.shape).numel()
    return max(counts, key=lambda name: counts[name], default="float32")


def weight_files(directory: Path) -> list[Path]:
    """The files that hold the weights: one, or those its index names."""
    if (directory / MODEL_WEIGHTS).exists():
        return [directory / MODEL_WEIGHTS]
    if (directory / MODEL_WEIGHTS_INDEX).exists():
        return _shards(directory / MODEL_WEIGHTS_INDEX)
    must_be_no_adapter(directory)
    pickles = sorted(path.name for path in directory.glob("*.bin"))
    if pickles:
        raise MODEL.fault(
            directory,
            f"the weights are in '{pickles[0]}', a pickle, which is never loaded: "
            "save them as safetensors",
        )
    shards = sorted(path.name for path in directory.glob("*.safetensors"))
    if shards:
        raise MODEL.fault(
            directory,
            f"there is '{shards[0]}', but neither {MODEL_WEIGHTS} nor {MODEL_WEIGHTS_INDEX}, "
            "which says which files the weights are in: download it too",
        )
    raise MODEL.fault(directory, f"{MODEL_WEIGHTS} is missing: download the weights too")


def must_be_no_adapter(directory: Path) -> None:
    """Raise ModelError if an adapter was given as the model: it names the model to give."""
    if not (directory / ADAPTER_CONFIG).exists():
        return
    base = read_json(directory / ADAPTER_CONFIG, MODEL).get("base_model_name_or_path")
    name = directory.resolve().name
    raise ModelError(
        f"'{directory}' is an adapter, not a model: serve its base model with it, as in "
        f"{base if isinstance(base, str) and base else 'BASE_MODEL'} --adapter {name}={directory}"
    )


def _name_in_model(key: str) -> str:
    name = OUTER.sub("", WRAPPERS.sub("", key), count=1)
    return f"model.{name}" if BASE_MODEL.match(name) else name


def _stored_twice(first: StoredTensor, second: StoredTensor) -> Exception:
    directory, where = first.file.parent, f"'{first.file.name}' and '{second.file.name}'"
    if first.key == second.key:
        return MODEL.fault(
            directory, f"tensor '{first.key}' is in both {where}: save the model again"
        )
    return MODEL.fault(
        directory,
        f"tensors '{first.key}' and '{second.key}' are two of the same name but for wrappers: "
        "save the model again",
    )


def _shards(index: Path) -> list[Path]:
    weight_map = read_json(index, MODEL).get("weight_map")
    names = list(weight_map.values()) if isinstance(weight_map, dict) else []
    if not names or not all(isinstance(name, str) and SHARD.fullmatch(name) for name in names):
        raise MODEL.fault(
            index.parent,
            f"{index.name} is not a valid index: its weight_map must name safetensors files "
            "beside it; copy it again",
        )
    return sorted({index.parent / name for name in names})
