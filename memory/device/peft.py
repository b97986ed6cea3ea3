"""Reads a PEFT LoRA directory, strictly: every tensor is used or refused by name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from motet.errors import AdapterError
from motet.file_names import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from motet.memory.device.base_tensors import BaseTensors
from motet.memory.device.copies import fault_of_copy
from motet.memory.device.files import ADAPTER, opened_tensors, shown
from motet.memory.device.peft_config import PeftConfig, read_config
from motet.memory.device.peft_directory import must_be_adapter
from motet.memory.device.peft_fields import MERGE, RETRAIN
from motet.memory.device.peft_names import parameter_name, unwrapped
from motet.memory.device.weights import AdapterWeights, LoraPair
from motet.memory.geometry import AdapterGeometry
from motet.memory.packing import SIDE_A, SIDE_B

PICKLE_FILE = "adapter_model.bin"

DTYPES = (torch.float32, torch.bfloat16, torch.float16)

MAGNITUDE = 2
"""In place of a side."""

SIDES = {"A": SIDE_A, "B": SIDE_B}

REFUSED_TENSORS = {
    "lora_diag": f"KaSA is not served; {MERGE}",
    "trainable_tokens": f"replaced token embeddings are not served; {MERGE}",
    "lora_B.bias": f"biases of B are not served; {RETRAIN}",
}
"""Part of a tensor's name -> why the adapter cannot be served, and what to do."""

UNUSED_TENSORS = ("lora_velora_embed", "lora_monteclora_sampler")
"""Parts of the names of tensors that only training reads."""

_TENSOR = re.compile(
    r"(?P<path>.+)\.lora_((?P<side>[AB])(\.[^.]+)?\.weight"
    r"|embedding_(?P<embedding_side>[AB])(\.[^.]+)?"
    r"|(?P<magnitude>magnitude_vector)(\.[^.]+)?(\.weight)?)"
)
# Doubled and multi-modal prefixes name the same language model.
_LAYER = re.compile(r"layers\.\d+\.")
_MODULE = re.compile(r"((model|language_model)\.)*(?P<path>(layers\.(?P<layer>\d+)\.)?.+)")
_PREFIX = re.compile(
    r"(?P<prefix>([^.]+\.)*?)(base_model\.)?((model|language_model)\.)*(?P<path>layers\.\d+\..+)"
)


def read_adapter(
    directory: str, geometry: AdapterGeometry, max_rank: int, base: BaseTensors
) -> AdapterWeights:
    """Read `adapter_config.json` and `adapter_model.safetensors` of one adapter.

    Of the base model only those tensors are read that the adapter holds copies of. Its own stay
    mapped from the file until they are staged. Raises AdapterError, one line naming the file, field
    or tensor and the remedy, unless the adapter can be served exactly.
    """
    return _assemble(directory, geometry, max_rank, base, _read_tensors(Path(directory)))


def read_adapter_header(
    directory: str, geometry: AdapterGeometry, max_rank: int, base: BaseTensors
) -> AdapterWeights:
    """As `read_adapter`, without the values of the tensors, which stay unread and unchecked."""
    tensors = _read_tensors(Path(directory))
    headers = ((name, tensor.to("meta")) for name, tensor in tensors)
    return _assemble(directory, geometry, max_rank, base, headers)


def _assemble(
    directory: str,
    geometry: AdapterGeometry,
    max_rank: int,
    base: BaseTensors,
    tensors: Iterator[tuple[str, Tensor]],
) -> AdapterWeights:
    must_be_adapter(Path(directory))
    config = read_config(Path(directory))
    pairs, skipped = _Reader(directory, geometry, max_rank, config, base).pairs(tensors)
    return AdapterWeights(directory, geometry, pairs, skipped, config.training)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor belongs; `path` is its module as PEFT's patterns see it."""

    module: int
    side: int
    path: str


@dataclass(frozen=True, slots=True)
class _Stored:
    name: str
    tensor: Tensor
    path: str


@dataclass(frozen=True)
class _Reader:
    directory: str
    geometry: AdapterGeometry
    max_rank: int
    config: PeftConfig
    base: BaseTensors

    @cached_property
    def index(self) -> dict[str, int]:
        """Path without the model's own name -> module."""
        paths = (module.path.removeprefix("model.") for module in self.geometry.modules)
        return {path: place for place, path in enumerate(paths)}

    def pairs(
        self, tensors: Iterator[tuple[str, Tensor]]
    ) -> tuple[dict[int, LoraPair], tuple[str, ...]]:
        """The matrices, and the names of tensors that change nothing."""
        stored: dict[tuple[int, int], _Stored] = {}
        skipped: list[str] = []
        for name, tensor in tensors:
            self._must_be_whole(name, tensor)
            if self._changes_nothing(name, tensor):
                skipped.append(shown(name))
                continue
            place = self._place(name)
            key = (place.module, place.side)
            if key in stored:
                raise self._error(f"tensors '{stored[key].name}' and '{name}' fill the same place")
            stored[key] = _Stored(name, tensor, place.path)
        if not stored:
            raise self._error(f"{ADAPTER_WEIGHTS} holds no tensors: train it first")
        self._must_have_copies(skipped)
        targets = sorted({module for module, _ in stored})
        return {module: self._pair(stored, module) for module in targets}, tuple(skipped)

    def _changes_nothing(self, name: str, tensor: Tensor) -> bool:
        """Whether a tensor can be skipped. Raises AdapterError for a trained copy of the base's."""
        if any(part in name for part in UNUSED_TENSORS):
            return True
        if _TENSOR.fullmatch(name) or any(part in name for part in REFUSED_TENSORS):
            return False
        fault = fault_of_copy(name, tensor, self.base, MERGE)
        if fault:
            raise self._error(fault)
        return fault is not None

    def _must_have_copies(self, skipped: list[str]) -> None:
        """Layers that were saved whole must be in the file, or some of the training is missing."""
        copies = {parameter_name(name) for name in skipped}
        for module in self.config.modules_to_save:
            parameter = parameter_name(f"{module}.weight")
            if parameter not in copies and self.base.tensor(parameter) is not None:
                raise self._error(
                    f"modules_to_save in {ADAPTER_CONFIG} names '{module}', {ADAPTER_WEIGHTS} has "
                    f"no '{module}.weight': save the adapter again"
                )

    def _must_be_whole(self, name: str, tensor: Tensor) -> None:
        found = _TENSOR.fullmatch(name)
        is_matrix = found is not None and not found["magnitude"]
        if tensor.numel() == 0 or (is_matrix and tensor.dim() < 2):
            raise self._error(
                f"tensor '{name}' has shape {list(tensor.shape)}: it was saved by DeepSpeed ZeRO-3 "
                "or FSDP without gathering its parts; gather them and save the adapter again"
            )

    def _place(self, name: str) -> _Place:
        for part, reason in REFUSED_TENSORS.items():
            if part in name:
                raise self._error(f"tensor '{name}': {reason}")
        found = _TENSOR.fullmatch(name)
        if found is None:
            raise self._error(
                f"tensor '{name}' is no LoRA matrix and no tensor of the base model, others are "
                "not served; train without it"
            )
        path = unwrapped(found["path"]).replace(".base_layer", "")
        module = _MODULE.fullmatch(path)
        assert module is not None, "it matches everything"
        index = self.index.get(module["path"])
        if index is None:
            raise self._unknown(name, path, module["layer"])
        if found["magnitude"]:
            return _Place(index, MAGNITUDE, path)
        is_embedding = self.geometry.modules[index].is_embedding
        if is_embedding != (found["side"] is None):
            raise self._error(
                f"tensor '{name}' is that of {'a linear layer' if is_embedding else 'an embedding'}"
                f", '{path}' is none: save the adapter again"
            )
        return _Place(index, SIDES[found["embedding_side" if is_embedding else "side"]], path)

    def _unknown(self, tensor: str, path: str, layer: str | None) -> AdapterError:
        """No module has this path: there is no such layer, or it is none that can be adapted."""
        layers = {found[0] for known in self.index if (found := _LAYER.match(known))}
        if layer is not None and f"layers.{layer}." not in layers:
            return self._error(
                f"tensor '{tensor}' is for layer {layer}, the served model has {len(layers)} "
                f"layers; {self._trained_for()}"
            )
        prefixed = _PREFIX.fullmatch(path)
        if prefixed and prefixed["prefix"] and prefixed["path"] in self.index:
            return self._error(
                f"tensor '{tensor}': prefix '{prefixed['prefix']}' is unknown: rename the tensors "
                "if it is a wrapper's, train without that part if it is another part of the model"
            )
        known = dict.fromkeys(_LAYER.sub("", known) for known in self.index)
        return self._error(
            f"tensor '{tensor}' is for module '{path}': only {', '.join(known)} can be adapted"
        )

    def _pair(self, stored: dict[tuple[int, int], _Stored], module: int) -> LoraPair:
        a = stored.get((module, SIDE_A))
        b = stored.get((module, SIDE_B))
        magnitude = stored.get((module, MAGNITUDE))
        if a is None or b is None:
            present, missing = a or b or magnitude, "B" if b is None else "A"
            assert present is not None
            raise self._error(
                f"tensor '{present.name}' has no lora_{missing} beside it: save the adapter again"
            )
        if self.config.use_dora != (magnitude is not None):
            has = "has no lora_magnitude_vector" if magnitude is None else "has one"
            raise self._error(
                f"use_dora is {str(self.config.use_dora).lower()}, but tensor '{a.name}' {has} "
                "beside it: save the adapter again"
            )
        shape = self.geometry.modules[module]
        rank = self._rank(a)
        num_outputs = shape.out_features + shape.out_padding
        self._must_have_shape(a, (rank, shape.in_features + shape.in_padding))
        self._must_have_shape(b, (num_outputs, rank))
        if magnitude is not None:
            self._must_have_shape(magnitude, (num_outputs,))
        for part in (a, b, magnitude):
            if part is not None:
                self._must_be_numbers(part)
        scale = self.config.scale_of(a.path)
        return LoraPair(a.tensor, b.tensor, scale, magnitude.tensor if magnitude else None)

    def _rank(self, a: _Stored) -> int:
        """The rank of an A tensor, which its configuration must agree with."""
        rank = a.tensor.shape[0] if a.tensor.dim() == 2 else 0
        configured = self.config.rank_of(a.path)
        if rank != configured:
            raise self._error(
                f"tensor '{a.name}' of shape {list(a.tensor.shape)} has rank {rank}, its "
                f"configuration says {configured}: correct r or rank_pattern"
            )
        if rank > self.max_rank:
            raise self._error(
                f"tensor '{a.name}' has rank {rank}, the engine was started with "
                f"--max-lora-rank {self.max_rank}: raise it (256 at most)"
            )
        return rank

    def _must_have_shape(self, stored: _Stored, expected: tuple[int, ...]) -> None:
        if stored.tensor.shape != expected:
            raise self._error(
                f"tensor '{stored.name}' has shape {list(stored.tensor.shape)}, the served model "
                f"needs {list(expected)}; {self._trained_for()}"
            )

    def _must_be_numbers(self, stored: _Stored) -> None:
        if stored.tensor.dtype not in DTYPES:
            raise self._error(
                f"tensor '{stored.name}' is stored as {_dtype(stored.tensor.dtype)}: save it as "
                f"{', '.join(_dtype(dtype) for dtype in DTYPES)}"
            )
        if not stored.tensor.is_meta and not stored.tensor.isfinite().all():
            raise self._error(f"tensor '{stored.name}' holds NaN or infinity: train it again")

    def _trained_for(self) -> str:
        name = self.config.training.base_model or "a base model it does not name"
        return f"the adapter was trained for {name}: serve that model"

    def _error(self, message: str) -> AdapterError:
        return AdapterError(f"adapter '{self.directory}': {shown(message)}")


def _read_tensors(directory: Path) -> Iterator[tuple[str, Tensor]]:
    path = directory / ADAPTER_WEIGHTS
    if not path.exists() and (directory / PICKLE_FILE).exists():
        raise AdapterError(
            f"adapter '{directory}': {ADAPTER_WEIGHTS} is missing: {PICKLE_FILE} is a pickle and "
            "never loaded: save it as safetensors"
        )
    with opened_tensors(path, ADAPTER) as file:
        for name in file.keys():  # noqa: SIM118 - not a mapping
            yield name, file.get_tensor(name)


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
