"""What every engine is asked: a random Llama, adapters for it and prompts, all from one seed."""

import enum
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from motet.errors import ConfigError

RANKS = (8, 16, 32, 64)
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Scenario(enum.StrEnum):
    BASE = "base"
    """Every request on the base model; no adapter is loaded."""
    MIXED = "mixed"
    """The requests take the adapters in turn."""


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


@dataclass(frozen=True, slots=True)
class Workload:
    """Sizes of the comparison. Round 0 warms up, rounds 1 to `repeat` are timed."""

    shape: str
    num_prompts: int
    input_len: int
    output_len: int
    num_adapters: int
    repeat: int
    dtype: str
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ConfigError when there are fewer tokens than prompts to begin with them."""
        needed, vocab_size = self.num_prompts * (self.repeat + 1), SHAPES[self.shape].vocab_size
        if needed > vocab_size:
            raise ConfigError(
                f"{self.num_prompts} prompts in {self.repeat + 1} rounds are {needed} different "
                f"first tokens, and the shape {self.shape} has {vocab_size}: ask for fewer"
            )

    @property
    def num_tokens(self) -> int:
        """Output tokens of one round."""
        return self.num_prompts * self.output_len

    @property
    def max_model_len(self) -> int:
        return self.input_len + self.output_len

    def prompts(self, round_number: int) -> list[list[int]]:
        """Random ids. No two prompts of any rounds begin alike: nothing can be cached."""
        vocab_size = SHAPES[self.shape].vocab_size
        first = np.random.default_rng(self.seed).permutation(vocab_size)
        start = round_number * self.num_prompts
        prompts = np.random.default_rng([self.seed, round_number]).integers(
            vocab_size, size=(self.num_prompts, self.input_len)
        )
        prompts[:, 0] = first[start : start + self.num_prompts]
        return [[int(token) for token in prompt] for prompt in prompts]

    def adapter_names(self, scenario: Scenario) -> list[str | None]:
        """The adapter of each prompt."""
        names = [f"a{number}" for number in range(self.num_adapters)]
        is_base = scenario is Scenario.BASE
        return [None if is_base else names[index % len(names)] for index in range(self.num_prompts)]


def model_directory(directory: Path) -> Path:
    return directory / "model"


def adapter_directory(directory: Path, name: str) -> Path:
    return directory / "adapters" / name


def write_workload(workload: Workload, directory: Path) -> None:
    """Write model and adapters; equal workloads write equal bytes."""
    torch.manual_seed(workload.seed)
    config = LlamaConfig(
        **asdict(SHAPES[workload.shape]),
        max_position_embeddings=max(2048, workload.max_model_len),
        bos_token_id=None,
        eos_token_id=None,
    )
    dtype = DTYPES[workload.dtype]
    model = LlamaForCausalLM(config)
    torch.nn.Module.to(model, dtype)
    model.save_pretrained(model_directory(directory))
    linears = {
        name: module
        for name, module in model.model.named_modules(prefix="base_model.model.model")
        if isinstance(module, torch.nn.Linear) and name.endswith(TARGETS)
    }
    for number in range(workload.num_adapters):
        rank = RANKS[number % len(RANKS)]
        _write_adapter(adapter_directory(directory, f"a{number}"), linears, rank, dtype)


def _write_adapter(
    directory: Path, linears: dict[str, torch.nn.Linear], rank: int, dtype: torch.dtype
) -> None:
    """PEFT's format. Neither matrix is zero, so that the adapter changes what is said."""
    tensors: dict[str, Tensor] = {}
    for name, linear in linears.items():
        a, b = torch.randn(rank, linear.in_features), torch.randn(linear.out_features, rank)
        tensors[f"{name}.lora_A.weight"] = (a * 0.02).to(dtype)
        tensors[f"{name}.lora_B.weight"] = (b * 0.02).to(dtype)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": list(TARGETS),
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "adapter_config.json").write_text(json.dumps(config, indent=2))
    save_file(tensors, directory / "adapter_model.safetensors")
