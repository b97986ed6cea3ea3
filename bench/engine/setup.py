"""An engine as `motet serve` would build it, from files on disk."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from motet.bench.random_model import DTYPES, AdapterKind, write_adapter
from motet.engine.config import EngineConfig, ModelConfig, PoolConfig
from motet.engine.core import EngineCore
from motet.engine.models import read_config
from motet.engine.start.build import build


@dataclass(frozen=True, slots=True)
class Setup:
    """What every engine of a run has in common."""

    model: Path
    directory: Path
    """Holds the adapters."""
    dtype: str
    pool_bytes: int
    threads: int
    prompt_tokens: int
    steps: int
    """Decode steps that are timed after each prefill."""

    def write_adapters(self, needed: Mapping[str, AdapterKind]) -> None:
        """By name."""
        modules = read_config(str(self.model)).modules
        for name, kind in needed.items():
            write_adapter(self.directory / name, modules, kind, DTYPES[self.dtype])

    def engine(self, adapters: Iterable[str], *, is_deterministic: bool = False) -> EngineCore:
        torch.set_num_threads(self.threads)
        config = EngineConfig(
            model=str(self.model),
            adapters=tuple((name, str(self.directory / name)) for name in adapters),
            model_config=ModelConfig(dtype=self.dtype, deterministic=is_deterministic),
            pool=PoolConfig(pool_bytes=self.pool_bytes),
        )
        return build(config, _ignore)


def _ignore(stage: str, done: int, total: int) -> None:
    pass
