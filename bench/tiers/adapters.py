"""Thousands of adapter directories in seconds."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from motet.bench.random_model import AdapterKind, write_adapter
from motet.file_names import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from motet.memory.geometry import Module


def write_adapters(
    directory: Path,
    modules: Sequence[Module],
    dtype: torch.dtype,
    *,
    num_adapters: int,
    num_distinct: int,
    rank: int,
) -> list[str]:
    """Their names, in order. The first `num_distinct` have weights of their own; the others are
    hard links to those, for adapters that nobody reads."""
    names = [f"a{number:05}" for number in range(num_adapters)]
    for name in names[:num_distinct]:
        write_adapter(directory / name, modules, AdapterKind(rank), dtype)
    for number, name in enumerate(names[num_distinct:]):
        original, copy = directory / names[number % num_distinct], directory / name
        copy.mkdir()
        for file in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
            os.link(original / file, copy / file)
    return names
