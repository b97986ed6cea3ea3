"""Adapter directories as PEFT lays them out, without PEFT."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from motet.file_names import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from motet.memory.device.peft import read_adapter
from motet.memory.device.weights import AdapterWeights
from motet.memory.geometry import AdapterGeometry, Module, in_layers
from tests.adapter_factory import NO_TENSORS

GEOMETRY = AdapterGeometry(
    in_layers(2, (Module("self_attn.q_proj", 8, 8), Module("self_attn.v_proj", 8, 4))), 8
)

Tensors = dict[str, Tensor]


def a_name(layer: int, module: str, side: str, middle: str = "", end: str = "") -> str:
    path = f"base_model.model.model.layers.{layer}.self_attn.{module}{middle}"
    return f"{path}.lora_{side}{end}.weight"


Q_A, Q_B = a_name(0, "q_proj", "A"), a_name(0, "q_proj", "B")


def some_tensors(rank: int = 4, dtype: torch.dtype = torch.float32) -> Tensors:
    """q_proj of both layers."""
    generator = torch.Generator().manual_seed(0)
    return {
        a_name(layer, "q_proj", side): torch.randn(shape, generator=generator).to(dtype)
        for layer in range(2)
        for side, shape in (("A", (rank, 8)), ("B", (8, rank)))
    }


def a_directory(path: Path, tensors: Tensors | None = None, /, **fields: Any) -> Path:
    """An adapter directory as PEFT lays it out, without PEFT."""
    path.mkdir(exist_ok=True)
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "some/base"}
    (path / ADAPTER_CONFIG).write_text(json.dumps(config | fields))
    save_file(some_tensors() if tensors is None else tensors, path / ADAPTER_WEIGHTS)
    return path


def read(path: Path, max_rank: int = 256) -> AdapterWeights:
    return read_adapter(str(path), GEOMETRY, max_rank, NO_TENSORS)


def digest(path: Path, base: str = "base", dtype: torch.dtype = torch.float32) -> str:
    return read(path).digest(base, dtype)
