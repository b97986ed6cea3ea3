"""Reads a PEFT LoRA directory, strictly: every tensor is used or refused by name."""

import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from motet.errors import AdapterError
from motet.file_names import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from motet.memory.device.base_tensors import BaseTensors
from motet.memory.device.copies import fault_of_copy
from motet.memory.device.files import ADAPTER, shortened, shown
from motet.memory.device.pace import Between, go_on
from motet.memory.device.peft_config import PeftConfig, read_config
from motet.memory.device.peft_directory import must_be_adapter
from motet.memory.device.peft_fields import MERGE, RETRAIN
from motet.memory.device.peft_names import parameter_name, unwrapped
from motet.memory.device.peft_patterns import BadPattern
from motet.memory.device.single_thread import is_finite
from motet.memory.device.tensor_file import TensorFile, TensorLayout, opened_tensor_file
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


KNOWN_HEADERS = 8
"""That are remembered: adapters that were trained alike, by the thousand, have one."""


class PeftReader:
    """Reads adapter directories for one model. Any thread may ask.

    What it has understood of a header it remembers, for all directories that have the same one and
    the same configuration: to go through hundreds of names takes longer than to read their values,
    and keeps the threads that compute waiting for Python.
    """

    def __init__(self, geometry: AdapterGeometry, max_rank: int, base: BaseTensors) -> None:
        """Of the base model only those tensors are read that an adapter holds copies of."""
        self._geometry = geometry
        self._max_rank = max_rank
        self._base = base
        self._known: deque[_Header] = deque(maxlen=KNOWN_HEADERS)
        """The one that was used last is the last."""
        self._lock = threading.Lock()

    def read(self, directory: str, between: Between = go_on) -> AdapterWeights:
        """All of `adapter_config.json` and `adapter_model.safetensors`.

        No value is read before all shapes are right, so a file takes no more memory than an adapter
        of `max_rank` may. Raises AdapterError, one line naming the file, field or tensor and the
        remedy, unless the adapter can be served exactly.
        """
        directory_reader = self._directory(directory)
        with _tensor_file(Path(directory)) as file:
            header = self._header(directory_reader, file)
            return directory_reader.with_values(header, file, between)

    def header(self, directory: str) -> AdapterWeights:
        """As `read`, without the values of the tensors, which stay unread and unchecked."""
        directory_reader = self._directory(directory)
        with _tensor_file(Path(directory)) as file:
            header = self._header(directory_reader, file)
        return replace(header.weights, source=directory)

    def _directory(self, directory: str) -> "_DirectoryReader":
        must_be_adapter(Path(directory))
        config = read_config(Path(directory))
        return _DirectoryReader(directory, self._geometry, self._max_rank, config, self._base)

    def _header(self, reader: "_DirectoryReader", file: TensorFile) -> "_Header":
        with self._lock:
            known = next((h for h in self._known if h.is_of(reader.config, file)), None)
            if known is not None:
                self._known.remove(known)
                self._known.append(known)
                return known
        header = reader.header(file.layout())
        with self._lock:
            self._known.append(header)
        return header


def read_adapter(
    directory: str, geometry: AdapterGeometry, max_rank: int, base: BaseTensors
) -> AdapterWeights:
    """One adapter, once. Raises AdapterError."""
    return PeftReader(geometry, max_rank, base).read(directory)


def read_adapter_header(
    directory: str, geometry: AdapterGeometry, max_rank: int, base: BaseTensors
) -> AdapterWeights:
    """As `read_adapter`, without values."""
    return PeftReader(geometry, max_rank, base).header(directory)


@contextmanager
def _tensor_file(directory: Path) -> Iterator[TensorFile]:
    path = directory / ADAPTER_WEIGHTS
    if not path.exists() and (directory / PICKLE_FILE).exists():
        raise AdapterError(
            f"adapter '{directory}': {ADAPTER_WEIGHTS} is missing: {PICKLE_FILE} is a pickle and "
            "never loaded: save it as safetensors"
        )
    with opened_tensor_file(path, ADAPTER) as file:
        yield file


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


_Matrices = dict[tuple[int, int], _Stored]
"""By module and side."""


@dataclass(frozen=True, slots=True, eq=False)
class _Header:
    """Adapters of one configuration without their values, and where these are in their files."""

    config: PeftConfig
    layout: TensorLayout
    weights: AdapterWeights
    """Their source is whoever was read first."""
    matrices: _Matrices
    copies: tuple[str, ...]
    """Names of the tensors that have to be equal to the base's."""

    def is_of(self, config: PeftConfig, file: TensorFile) -> bool:
        return file.has(self.layout) and config == self.config


@dataclass(frozen=True)
class _DirectoryReader:
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

    def header(self, layout: TensorLayout) -> _Header:
        """All that is known without a value."""
        matrices: _Matrices = {}
        copies: list[str] = []
        unused: list[str] = []
        for name, tensor in layout.tensors.items():
            self._must_be_whole(name, tensor)
            if any(part in name for part in UNUSED_TENSORS):
                unused.append(name)
            elif self._is_copy(name, tensor):
                copies.append(name)
            else:
                place = self._place(name)
                key = (place.module, place.side)
                if key in matrices:
                    both = f"'{matrices[key].name}' and '{name}'"
                    raise self._error(f"tensors {both} fill the same place")
                matrices[key] = _Stored(name, tensor, place.path)
        if not matrices:
            raise self._error(f"{ADAPTER_WEIGHTS} holds no tensors: train it first")
        self._must_have_copies(copies)
        try:
            pairs = {
                module: self._pair(matrices, module)
                for module in sorted({place[0] for place in matrices})
            }
        except BadPattern as error:
            raise self._error(str(error)) from None
        skipped = tuple(shown(name) for name in layout.tensors if name in {*copies, *unused})
        weights = AdapterWeights(
            self.directory, self.geometry, pairs, skipped, self.config.training
        )
        return _Header(self.config, layout, weights, matrices, tuple(copies))

    def with_values(self, header: _Header, file: TensorFile, between: Between) -> AdapterWeights:
        """The same adapter, its values read and checked."""
        for name in header.copies:
            self._is_copy(name, file.read(name, header.layout))
        values: dict[tuple[int, int], Tensor] = {}
        for place, stored in header.matrices.items():
            between()
            values[place] = self._values(stored.name, file.read(stored.name, header.layout))
        pairs = {
            module: replace(
                pair,
                a=values[module, SIDE_A],
                b=values[module, SIDE_B],
                magnitude=values.get((module, MAGNITUDE)),
            )
            for module, pair in header.weights.pairs.items()
        }
        return replace(header.weights, source=self.directory, pairs=pairs)

    def _values(self, name: str, values: Tensor) -> Tensor:
        if not is_finite(values):
            raise self._error(f"tensor '{name}' holds NaN or infinity: train it again")
        return values

    def _is_copy(self, name: str, tensor: Tensor) -> bool:
        """Whether it is one of the base's tensors. Raises AdapterError where that was trained."""
        if _TENSOR.fullmatch(name) or any(part in name for part in REFUSED_TENSORS):
            return False
        fault = fault_of_copy(name, tensor, self.base, MERGE)
        if fault:
            raise self._error(fault)
        return fault is not None

    def _must_have_copies(self, copies: list[str]) -> None:
        """Layers that were saved whole must be in the file, or some of the training is missing."""
        parameters = {parameter_name(name) for name in copies}
        for module in self.config.modules_to_save:
            parameter = parameter_name(f"{module}.weight")
            if parameter not in parameters and self.base.tensor(parameter) is not None:
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

    def _pair(self, matrices: _Matrices, module: int) -> LoraPair:
        a = matrices.get((module, SIDE_A))
        b = matrices.get((module, SIDE_B))
        magnitude = matrices.get((module, MAGNITUDE))
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
        if a.tensor.dim() != 2:
            raise self._error(
                f"tensor '{a.name}' has shape {list(a.tensor.shape)}, a LoRA matrix has two sides: "
                "save the adapter again"
            )
        rank = a.tensor.shape[0]
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

    def _trained_for(self) -> str:
        name = self.config.training.base_model or "a base model it does not name"
        return f"the adapter was trained for {name}: serve that model"

    def _error(self, message: str) -> AdapterError:
        return AdapterError(f"adapter '{self.directory}': {shortened(shown(message))}")


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
