"""What every engine is asked: a random Llama, adapters for it and prompts, all from one seed."""

import enum
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from motet.bench.random_model import (
    DTYPES,
    RANKS,
    SHAPES,
    AdapterKind,
    write_adapter,
    write_model,
)
from motet.engine.models import read_config
from motet.errors import ConfigError


class Scenario(enum.StrEnum):
    BASE = "base"
    """Every request on the base model; no adapter is loaded."""
    MIXED = "mixed"
    """The requests take the adapters in turn."""


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
    model, dtype = model_directory(directory), DTYPES[workload.dtype]
    write_model(model, SHAPES[workload.shape], max(2048, workload.max_model_len), dtype)
    modules = read_config(str(model)).modules
    for number in range(workload.num_adapters):
        rank = RANKS[number % len(RANKS)]
        write_adapter(adapter_directory(directory, f"a{number}"), modules, AdapterKind(rank), dtype)
