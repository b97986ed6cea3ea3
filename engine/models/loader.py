"""From safetensors files into the parameters of a model, strictly: every tensor has its place."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from motet.errors import ModelError

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

ELEMENT_BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}
"""The stored formats that can be cast to the engine's."""

IGNORED = re.compile(r".*\.rotary_emb\.inv_freq")
"""Left in old checkpoints; computed from config.json instead."""

Progress = Callable[[int, int], None]
"""Called with the bytes read so far and in total."""


class Weights:
    """The parameters of a model, and which checkpoint tensor fills which part of them.

    A layer allocates its parameters here when it is built; `load` then fills them all in place.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype = dtype
        self.device = device
        self._targets: dict[str, Tensor] = {}
        self._twins: dict[str, str] = {}

    def tensor(self, name: str, *shape: int) -> Tensor:
        """A parameter that is one tensor of the checkpoint."""
        return self.stack([name], shape[:1], *shape[1:])

    def stack(self, names: Sequence[str], heights: Sequence[int], *columns: int) -> Tensor:
        """Tensors `[heights[i], *columns]` of the checkpoint, on top of each other."""
        stacked = torch.empty(sum(heights), *columns, dtype=self.dtype, device=self.device)
        self._targets.update(zip(names, torch.split(stacked, list(heights)), strict=True))
        return stacked

    def twin(self, name: str, of: str) -> Tensor:
        """The same parameter as `of`; a checkpoint may leave it out or store it a second time."""
        self._twins[name] = of
        return self._targets[of]

    def load(self, directory: str, progress: Progress) -> None:
        """Read the checkpoint in `directory`, one mapped tensor at a time.

        Raises ModelError, before anything is copied, unless names, shapes and formats all fit.
        """
        stored = _list_tensors(Path(directory))
        self._check(directory, stored)
        wanted = [tensor for tensor in stored.values() if tensor.name in self._targets]
        done_bytes, total_bytes = 0, sum(tensor.num_bytes for tensor in wanted)
        for tensor in wanted:
            with _opened(tensor.file) as file:
                self._targets[tensor.name].copy_(file.get_tensor(tensor.name))
            done_bytes += tensor.num_bytes
            progress(done_bytes, total_bytes)
        for name in self._twins.keys() & stored.keys():
            self._check_twin(directory, stored[name])

    def _check(self, directory: str, stored: dict[str, "_Stored"]) -> None:
        known = self._targets.keys() | self._twins.keys()
        unknown = {name for name in stored.keys() - known if not IGNORED.fullmatch(name)}
        for what, names in (
            ("has no tensor", self._targets.keys() - stored.keys()),
            ("has an unknown tensor", unknown),
        ):
            if names:
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                raise ModelError(
                    f"model '{directory}' {what} '{min(names)}'{more}: "
                    "its weights and its config.json are of different models"
                )
        for tensor in stored.values():
            if tensor.name in known:
                self._check_tensor(directory, tensor)

    def _check_tensor(self, directory: str, tensor: "_Stored") -> None:
        expected = tuple(self._targets[self._twins.get(tensor.name, tensor.name)].shape)
        if tensor.shape != expected:
            raise ModelError(
                f"model '{directory}': tensor '{tensor.name}' has shape {list(tensor.shape)}, "
                f"config.json says {list(expected)}: they are of different models"
            )
        if tensor.dtype not in ELEMENT_BYTES:
            raise ModelError(
                f"model '{directory}': tensor '{tensor.name}' is stored as {tensor.dtype}: "
                f"save it as one of {', '.join(ELEMENT_BYTES)}"
            )

    def _check_twin(self, directory: str, tensor: "_Stored") -> None:
        original = self._twins[tensor.name]
        with _opened(tensor.file) as file:
            copy = file.get_tensor(tensor.name).to(self.device, self.dtype)
        if not torch.equal(copy, self._targets[original]):
            raise ModelError(
                f"model '{directory}': tensors '{tensor.name}' and '{original}' differ: "
                "set tie_word_embeddings to false in config.json"
            )


@dataclass(frozen=True, slots=True)
class _Stored:
    """A tensor as the header of its file describes it."""

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def num_bytes(self) -> int:
        return torch.Size(self.shape).numel() * ELEMENT_BYTES[self.dtype]


def _list_tensors(directory: Path) -> dict[str, _Stored]:
    """Every tensor of the checkpoint by name, in the order of the files."""
    stored: dict[str, _Stored] = {}
    for path in _weight_files(directory):
        with _opened(path) as file:
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                if name in stored:
                    raise ModelError(
                        f"tensor '{name}' is in both '{stored[name].file}' and '{path}': "
                        "save the model again"
                    )
                header = file.get_slice(name)
                stored[name] = _Stored(path, name, tuple(header.get_shape()), header.get_dtype())
    return stored


def _weight_files(directory: Path) -> list[Path]:
    """The files that hold the weights: one, or those its index names."""
    if (directory / WEIGHTS_FILE).exists():
        return [directory / WEIGHTS_FILE]
    if (directory / INDEX_FILE).exists():
        return _shards(directory / INDEX_FILE)
    pickles = sorted(path.name for path in directory.glob("*.bin"))
    if pickles:
        raise ModelError(
            f"model '{directory}' has its weights in '{pickles[0]}', a pickle, which is never "
            "loaded: save it as safetensors"
        )
    raise ModelError(f"model '{directory}' has no {WEIGHTS_FILE}: download the weights too")


def _shards(index: Path) -> list[Path]:
    try:
        names = set(json.loads(index.read_bytes())["weight_map"].values())
        return sorted(index.parent / name for name in names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"'{index}' is not a valid index ({type(error).__name__}: {error}): download it again"
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A mapped safetensors file. Its header has been checked against its length."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"'{path}' is not a complete safetensors file ({error}): download it again"
        ) from error
