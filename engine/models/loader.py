"""From safetensors files into the parameters of a model, strictly: every tensor has its place."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from motet.engine.models.linear import Linear, Packing
from motet.errors import ConfigError
from motet.memory.device.files import MODEL, opened_tensors, read_json

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

ELEMENT_BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}
"""The stored formats that can be cast to the engine's."""

IGNORED = re.compile(r".*\.rotary_emb\.inv_freq")
"""Left in old checkpoints; computed from config.json instead."""

SHARD = re.compile(r"[\w.-]+\.safetensors", re.ASCII)
"""A file name, not a path: all files of a model are in its directory."""

Progress = Callable[[int, int], None]
"""Called with the bytes read so far and in total."""


class Weights:
    """The parameters of a model, and which checkpoint tensor fills which part of them.

    A layer allocates its parameters here when it is built, if the headers of the files have them
    in that shape; `load` then fills them all in place and packs what linear layers read. Each
    method raises ModelError for what does not fit.
    """

    def __init__(
        self, directory: str, dtype: torch.dtype, device: torch.device, packing: Packing | None
    ) -> None:
        self.dtype = dtype
        self.device = device
        self._packing = packing  # None: linear layers read plain weights
        self._directory = directory
        self._stored = list_tensors(Path(directory))
        self._targets: dict[str, Tensor] = {}
        self._twins: dict[str, str] = {}
        self._linears: list[Linear] = []

    def tensor(self, name: str, *shape: int) -> Tensor:
        """A parameter that is one tensor of the checkpoint."""
        return self.stack([name], shape[:1], *shape[1:])

    def stack(self, names: Sequence[str], heights: Sequence[int], *columns: int) -> Tensor:
        """Tensors `[heights[i], *columns]` of the checkpoint, on top of each other."""
        for name, height in zip(names, heights, strict=True):
            self._must_be_stored(name, (height, *columns))
        stacked = torch.empty(sum(heights), *columns, dtype=self.dtype, device=self.device)
        self._targets.update(zip(names, torch.split(stacked, list(heights)), strict=True))
        return stacked

    def twin(self, name: str, of: str) -> Tensor:
        """The same parameter as `of`; a checkpoint may leave it out or store it a second time."""
        target = self._targets[of]
        if name in self._stored:
            self._must_be_stored(name, tuple(target.shape))
            self._twins[name] = of
        return target

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Linear:
        """A product with a parameter or with a part of one, packed where that can be."""
        linear = Linear(weight, bias)
        self._linears.append(linear)
        return linear

    @property
    def num_bytes(self) -> int:
        """Of the parameters made so far."""
        return sum(target.numel() * target.element_size() for target in self._targets.values())

    def check_complete(self) -> None:
        """All parameters are made: nothing else may be in the checkpoint."""
        known = self._targets.keys() | self._twins.keys()
        unknown = {name for name in self._stored.keys() - known if not IGNORED.fullmatch(name)}
        if unknown:
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise self._error(
                f"there is an unknown tensor '{min(unknown)}'{more}: "
                "the weights and config.json are of different models"
            )

    def load(self, progress: Progress) -> None:
        """Fill the parameters, one mapped tensor at a time, then pack the linears; only once.

        What is packed and read by nothing else takes no more memory than before, since it is
        packed one by one.
        """
        wanted = [tensor for tensor in self._stored.values() if tensor.name in self._targets]
        done_bytes, total_bytes = 0, sum(tensor.num_bytes for tensor in wanted)
        for tensor in wanted:
            self._fill(tensor)
            done_bytes += tensor.num_bytes
            progress(done_bytes, total_bytes)
        for name in self._twins:
            self._check_twin(self._stored[name])
        self._targets.clear()  # else plain weights would stay beside their packed copies
        if self._packing is not None:
            for linear in self._linears:
                linear.pack(self._packing)

    def _must_be_stored(self, name: str, shape: tuple[int, ...]) -> None:
        tensor = self._stored.get(name)
        if tensor is None:
            raise self._error(
                f"there is no tensor '{name}': the weights and config.json are of different models"
            )
        if tensor.shape != shape:
            raise self._error(
                f"tensor '{name}' has shape {list(tensor.shape)}, config.json says {list(shape)}: "
                "they are of different models"
            )
        if tensor.dtype not in ELEMENT_BYTES:
            raise self._error(
                f"tensor '{name}' is stored as {tensor.dtype}: "
                f"save it as one of {', '.join(ELEMENT_BYTES)}"
            )

    def _fill(self, tensor: "StoredTensor") -> None:
        target = self._targets[tensor.name]
        with opened_tensors(tensor.file, MODEL) as file:
            target.copy_(file.get_tensor(tensor.name))
        # Unlike isfinite(), aminmax() needs no second tensor, and costs less than the copy.
        if not torch.stack(torch.aminmax(target)).isfinite().all():
            raise self._error(
                f"tensor '{tensor.name}' holds NaN or infinity as {self.dtype}: "
                "copy it again, or choose a wider --dtype"
            )

    def _check_twin(self, tensor: "StoredTensor") -> None:
        original = self._twins[tensor.name]
        with opened_tensors(tensor.file, MODEL) as file:
            copy = file.get_tensor(tensor.name).to(self.device, self.dtype)
        if not torch.equal(copy, self._targets[original]):
            raise self._error(
                f"tensors '{tensor.name}' and '{original}' differ: "
                "set tie_word_embeddings to false in config.json"
            )

    def _error(self, message: str) -> ConfigError:
        return MODEL.fault(Path(self._directory), message)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as the header of its file describes it."""

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def num_bytes(self) -> int:
        return torch.Size(self.shape).numel() * ELEMENT_BYTES[self.dtype]


def list_tensors(directory: Path) -> dict[str, StoredTensor]:
    """Every tensor of the checkpoint by name, in the order of the files."""
    stored: dict[str, StoredTensor] = {}
    for path in weight_files(directory):
        with opened_tensors(path, MODEL) as file:
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                if name in stored:
                    raise MODEL.fault(
                        directory,
                        f"tensor '{name}' is in both '{stored[name].file.name}' and "
                        f"'{path.name}': save the model again",
                    )
                header = file.get_slice(name)
                stored[name] = StoredTensor(
                    path, name, tuple(header.get_shape()), header.get_dtype()
                )
    return stored


def weight_files(directory: Path) -> list[Path]:
    """The files that hold the weights: one, or those its index names."""
    if (directory / WEIGHTS_FILE).exists():
        return [directory / WEIGHTS_FILE]
    if (directory / INDEX_FILE).exists():
        return _shards(directory / INDEX_FILE)
    pickles = sorted(path.name for path in directory.glob("*.bin"))
    if pickles:
        raise MODEL.fault(
            directory,
            f"the weights are in '{pickles[0]}', a pickle, which is never loaded: "
            "save them as safetensors",
        )
    raise MODEL.fault(directory, f"{WEIGHTS_FILE} is missing: download the weights too")


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
