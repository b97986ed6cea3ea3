"""Single tensors of a checkpoint for the readers of adapters, mapped when they are wanted."""

from functools import cached_property
from pathlib import Path

from torch import Tensor

from motet.engine.models.ends import EMBEDDING, HEAD
from motet.engine.models.loader import StoredTensor, list_tensors
from motet.engine.models.spec import ModelSpec
from motet.memory.device.files import MODEL, opened_tensors

TWINS = {EMBEDDING: HEAD, HEAD: EMBEDDING}


class CheckpointTensors:
    """`BaseTensors` of a model directory. The headers are read when the first tensor is wanted."""

    def __init__(self, spec: ModelSpec) -> None:
        self._directory = Path(spec.directory)
        self._is_tied = spec.is_tied

    def tensor(self, name: str) -> Tensor | None:
        stored = self._stored.get(name)
        if stored is None and self._is_tied and name in TWINS:
            stored = self._stored.get(TWINS[name])
        if stored is None:
            return None
        with opened_tensors(stored.file, MODEL) as file:
            tensor: Tensor = file.get_tensor(stored.name)
        return tensor

    @cached_property
    def _stored(self) -> dict[str, StoredTensor]:
        return list_tensors(self._directory)
