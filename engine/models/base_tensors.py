"""Single tensors of a checkpoint for the readers of adapters, mapped when they are wanted."""

from functools import cached_property
from pathlib import Path

from torch import Tensor

from motet.engine.models.checkpoint import EMBEDDING, HEAD, StoredTensor, list_tensors
from motet.engine.models.spec import ModelSpec


class CheckpointTensors:
    """`BaseTensors` of a model directory. The headers are read when the first tensor is wanted."""

    def __init__(self, spec: ModelSpec) -> None:
        self._directory = Path(spec.directory)
        self._is_tied = spec.is_tied

    def tensor(self, name: str) -> Tensor | None:
        stored = self._stored.get(name)
        if stored is None and self._is_tied and name == HEAD:
            stored = self._stored.get(EMBEDDING)
        return None if stored is None else stored.mapped()

    @cached_property
    def _stored(self) -> dict[str, StoredTensor]:
        return list_tensors(self._directory, is_tied=self._is_tied)
