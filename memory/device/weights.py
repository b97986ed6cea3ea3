"""An adapter's matrices as they were trained, and the digest that identifies them."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from motet.memory.layout import AdapterGeometry
from motet.memory.packing import Ranks


@dataclass(frozen=True, slots=True, eq=False)
class LoraPair:
    """The update `scale * B @ A` of one linear layer, in the dtype of its file."""

    a: Tensor  # [rank, in_features]
    b: Tensor  # [out_features, rank]
    scale: float

    @property
    def rank(self) -> int:
        return self.a.shape[0]


@dataclass(frozen=True, slots=True, eq=False)
class AdapterWeights:
    """Everything an adapter changes: one pair for each (layer, module) it targets."""

    source: str
    """Directory it was read from: for messages, not part of its identity."""
    geometry: AdapterGeometry
    pairs: Mapping[tuple[int, int], LoraPair]
    skipped: tuple[str, ...] = ()
    """Names of tensors in the file that change nothing, such as copies equal to the base's."""

    @property
    def ranks(self) -> Ranks:
        return tuple(tuple(pair.rank if pair else 0 for pair in row) for row in self._rows())

    @property
    def scales(self) -> tuple[tuple[float, ...], ...]:
        """`scales[layer][module]`, 0 where the adapter does not touch the module."""
        return tuple(tuple(pair.scale if pair else 0.0 for pair in row) for row in self._rows())

    @property
    def max_rank(self) -> int:
        return max(pair.rank for pair in self.pairs.values())

    def digest(self, base_model_id: str, dtype: torch.dtype) -> str:
        """SHA-256 of all that decides what the adapter computes, in hexadecimal.

        Covers the base model, the compute dtype and, in the order of layers and module paths, the
        path, shapes, rank, effective scale and stored bytes of every pair. File names, the order
        of keys and configuration without effect are not covered.
        """
        sha = hashlib.sha256()
        _update(sha, [base_model_id, str(dtype)])
        for layer, path, pair in sorted(
            (layer, self.geometry.modules[module].path, pair)
            for (layer, module), pair in self.pairs.items()
        ):
            _update(sha, [layer, path, pair.rank, pair.scale.hex()])
            for matrix in (pair.a, pair.b):
                _update(sha, [list(matrix.shape), str(matrix.dtype)])
                sha.update(matrix.contiguous().view(torch.uint8).numpy().data)
        return sha.hexdigest()

    def _rows(self) -> Iterator[list[LoraPair | None]]:
        """For each layer, the pair of each module."""
        for layer in range(self.geometry.num_layers):
            modules = range(len(self.geometry.modules))
            yield [self.pairs.get((layer, module)) for module in modules]


def _update(sha: "hashlib._Hash", fields: list[object]) -> None:
    """One line of JSON: it cannot be confused with its neighbours, which it delimits."""
    sha.update(json.dumps(fields).encode() + b"\n")
