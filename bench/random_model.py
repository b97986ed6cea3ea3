"""A Llama with random weights and adapters for it, written as trained ones are: nobody's, and as
fast as any of its shape."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from motet.file_names import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from motet.memory.geometry import Module

RANKS = (8, 16, 32, 64)
"""Of mixed adapters, in turn."""

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
HEAD = "lm_head"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama. Field names are those of its config.json."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int


SHAPES = {
    "246m": Shape(32_000, 1024, 2816, 16, 16, 4),
    "tiny": Shape(512, 64, 128, 2, 4, 2),
}


def write_model(directory: Path, shape: Shape, max_positions: int, dtype: torch.dtype) -> None:
    # Imported here: no process that only serves the model has to hold this too.
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar

    if not sys.stderr.isatty():
        disable_progress_bar()  # type: ignore[no-untyped-call]
    config = LlamaConfig(
        **asdict(shape),
        max_position_embeddings=max_positions,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    torch.nn.Module.to(model, dtype)
    model.save_pretrained(directory)


@dataclass(frozen=True, slots=True)
class AdapterKind:
    """What an adapter of random weights changes."""

    rank: int
    targets: tuple[str, ...] = TARGETS
    use_dora: bool = False


def write_adapter(
    directory: Path, modules: Sequence[Module], kind: AdapterKind, dtype: torch.dtype
) -> None:
    """PEFT's format. Neither matrix is zero, so that the adapter changes what is said."""
    tensors: dict[str, Tensor] = {}
    for module in modules:
        if module.name in kind.targets:
            path, num_outputs = f"base_model.model.{module.path}", module.out_features
            a, b = torch.randn(kind.rank, module.in_features), torch.randn(num_outputs, kind.rank)
            tensors[f"{path}.lora_A.weight"] = (a * 0.02).to(dtype)
            tensors[f"{path}.lora_B.weight"] = (b * 0.02).to(dtype)
            if kind.use_dora:
                tensors[f"{path}.lora_magnitude_vector"] = (0.5 + torch.rand(num_outputs)).to(dtype)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": kind.rank,
        "lora_alpha": 2 * kind.rank,
        "target_modules": list(kind.targets),
        "use_dora": kind.use_dora,
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2))
    save_file(tensors, directory / ADAPTER_WEIGHTS)
