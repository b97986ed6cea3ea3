"""The model whose steps are long enough for copies to matter, and engines of it in this process."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from motet.bench.random_model import DTYPES, SHAPES, write_model
from motet.engine.config import EngineConfig, ModelConfig, PoolConfig
from motet.engine.core import EngineCore
from motet.engine.models import read_config
from motet.engine.start.blueprint import Blueprint, blueprint_of
from motet.engine.start.build import build
from motet.memory.geometry import Module


@dataclass(frozen=True, slots=True)
class LargeModel:
    """A directory, and how engines compute with it."""

    directory: Path
    shape: str
    dtype: str
    threads: int
    max_model_len: int

    def write(self) -> Sequence[Module]:
        """Returns the modules that adapters may change."""
        shape = SHAPES[self.shape]
        write_model(self.directory, shape, self.max_model_len, DTYPES[self.dtype])
        return read_config(str(self.directory)).modules

    @property
    def blueprint(self) -> Blueprint:
        return blueprint_of(self._config(PoolConfig(), ()))

    def engine(self, pool: PoolConfig, adapters: Sequence[tuple[str, str]] = ()) -> EngineCore:
        """With adapters (name, directory) that it reads when they are asked for."""
        return build(self._config(pool, adapters), _ignore)

    def _config(self, pool: PoolConfig, adapters: Sequence[tuple[str, str]]) -> EngineConfig:
        return EngineConfig(
            model=str(self.directory),
            adapters=tuple(adapters),
            model_config=ModelConfig(
                dtype=self.dtype, threads=self.threads, max_model_len=self.max_model_len
            ),
            pool=pool,
            optional_adapters=frozenset(name for name, _ in adapters),
        )

    def __str__(self) -> str:
        return f"{self.shape}, {self.dtype}, {self.threads} threads"


def _ignore(stage: str, done: int, total: int) -> None:
    pass
