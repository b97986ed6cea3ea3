"""Accidents that may happen to the files of an adapter.

An accident changes a good adapter directory, which nobody else uses.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from motet.file_names import ADAPTER_CONFIG, ADAPTER_WEIGHTS

LENGTH_BYTES = 8
"""At the beginning of a safetensors file: the length of its header."""

Accident = Callable[[Path], object]
Tensors = dict[str, Tensor]


def all_of(*accidents: Accident) -> Accident:
    def happen(adapter: Path) -> None:
        for accident in accidents:
            accident(adapter)

    return happen


def config_is(content: bytes | str) -> Accident:
    return lambda adapter: _write(adapter / ADAPTER_CONFIG, content)


def weights_are(content: bytes) -> Accident:
    return lambda adapter: _write(adapter / ADAPTER_WEIGHTS, content)


def beside(name: str, content: bytes | str) -> Accident:
    """One more file."""
    return lambda adapter: _write(adapter / name, content)


def cut(name: str, at: Callable[[int], int]) -> Accident:
    """Of a file only the beginning is left; how much, its size says."""

    def happen(adapter: Path) -> None:
        content = (adapter / name).read_bytes()
        (adapter / name).write_bytes(content[: at(len(content))])

    return happen


def lengthened(name: str, size: int) -> Accident:
    """A file has a hole at its end."""
    return lambda adapter: os.truncate(adapter / name, size)


def missing(name: str) -> Accident:
    return lambda adapter: (adapter / name).unlink()


def renamed(name: str, to: str) -> Accident:
    return lambda adapter: (adapter / name).rename(adapter / to)


def replaced(name: str, make: Callable[[Path], object]) -> Accident:
    """Something else has the name of a file."""

    def happen(adapter: Path) -> None:
        (adapter / name).unlink()
        make(adapter / name)

    return happen


def fields(**changes: Any) -> Accident:
    """Of the configuration."""

    def happen(adapter: Path) -> None:
        path = adapter / ADAPTER_CONFIG
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return happen


def header(change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> Accident:
    """Of the weights, whose values stay."""

    def happen(adapter: Path) -> None:
        content = (adapter / ADAPTER_WEIGHTS).read_bytes()
        start = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
        described = change(json.loads(content[LENGTH_BYTES:start]))
        _write(adapter / ADAPTER_WEIGHTS, safetensors(json.dumps(described), content[start:]))

    return happen


def tensor_entry(name: str, **changes: Any) -> Accident:
    """One tensor's in the header: dtype, shape, data_offsets."""
    return header(lambda entries: entries | {name: entries[name] | changes})


def tensors(change: Callable[[Tensors], Tensors]) -> Accident:
    """In a file that is otherwise whole."""

    def happen(adapter: Path) -> None:
        path = adapter / ADAPTER_WEIGHTS
        changed = change(load_file(path))
        save_file({name: tensor.contiguous() for name, tensor in changed.items()}, path)

    return happen


def tensor(name: str, change: Callable[[Tensor], Tensor]) -> Accident:
    return tensors(lambda found: found | {name: change(found[name])})


def added(**more: Tensor) -> Accident:
    return tensors(lambda found: found | more)


def without(*names: str) -> Accident:
    return tensors(lambda found: {name: found[name] for name in found.keys() - set(names)})


def with_number(value: float, place: int = 0) -> Callable[[Tensor], Tensor]:
    """One of the values."""

    def change(values: Tensor) -> Tensor:
        changed = values.clone()
        changed.view(-1)[place] = value
        return changed

    return change


def safetensors(described: str | bytes, values: bytes = b"", length: int | None = None) -> bytes:
    """A file with this header; `length` is what it says that the header has."""
    text = described.encode() if isinstance(described, str) else described
    says = len(text) if length is None else length
    return says.to_bytes(LENGTH_BYTES, "little") + text + values


def many_tensors(count: int) -> bytes:
    """A file that says to have so many, of one number each."""
    entries = {
        f"t{number}": {"dtype": "F32", "shape": [1], "data_offsets": [4 * number, 4 * number + 4]}
        for number in range(count)
    }
    return safetensors(json.dumps(entries, separators=(",", ":")), bytes(4 * count))


def other_rank(rank: int) -> Accident:
    """Whole and right, for a model that allows it."""

    def change(found: Tensors) -> Tensors:
        shapes = {
            name: (rank, values.shape[1]) if "lora_A" in name else (values.shape[0], rank)
            for name, values in found.items()
        }
        return {name: torch.ones(shape) for name, shape in shapes.items()}

    return all_of(fields(r=rank), tensors(change))


def _write(path: Path, content: bytes | str) -> None:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
