"""An adapter's matrices as they were trained, and the digest that identifies them."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from motet.errors import AdapterError
from motet.memory.device.pace import Between, go_on
from motet.memory.device.training import Training
from motet.memory.geometry import AdapterGeometry
from motet.memory.packing import Ranks


@dataclass(frozen=True, slots=True, eq=False)
class LoraPair:
    """The update `scale * B @ A` of one linear layer, in the dtype of its file.

    With a magnitude (DoRA, arXiv:2402.09353), the updated weight W has its rows rescaled: those
    of `magnitude / norm(W) * W` are as long as the magnitude says.
    """

    a: Tensor  # [rank, in_features]
    b: Tensor  # [out_features, rank]
    scale: float
    magnitude: Tensor | None = None  # [out_features], what DoRA makes the norm of each output

    @property
    def rank(self) -> int:
        return self.a.shape[0]


@dataclass(frozen=True, slots=True, eq=False)
class AdapterWeights:
    """Everything an adapter changes: one pair for each module it targets."""

    source: str
    """Directory it was read from: for messages, not part of its identity."""
    geometry: AdapterGeometry
    pairs: Mapping[int, LoraPair]
    """By the index of the module in the geometry."""
    skipped: tuple[str, ...] = ()
    """Names of tensors in the file that change nothing, such as copies equal to the base's."""
    training: Training = field(default_factory=Training)

    @property
    def ranks(self) -> Ranks:
        return tuple(pair.rank if pair else 0 for pair in self._each())

    @property
    def scales(self) -> tuple[float, ...]:
        """Of each module, 0 where the adapter does not touch it."""
        return tuple(pair.scale if pair else 0.0 for pair in self._each())

    @property
    def rescaled(self) -> frozenset[int]:
        """The modules whose outputs DoRA rescales."""
        return frozenset(m for m, pair in self.pairs.items() if pair.magnitude is not None)

    @property
    def max_rank(self) -> int:
        return max(pair.rank for pair in self.pairs.values())

    def digest(self, base_model_id: str, dtype: torch.dtype, between: Between = go_on) -> str:
        """SHA-256 of all that decides what the adapter computes, in hexadecimal.

        Covers the base model, the compute dtype and, in the order of modules, the path,
        shapes, rank, effective scale and stored bytes of every pair. File names, the order
        of keys and configuration without effect are not covered.
        """
        sha = hashlib.sha256()
        _update(sha, [base_model_id, str(dtype)])
        for module, pair in sorted(self.pairs.items()):
            between()
            path = self.geometry.modules[module].path
            _update(sha, [path, pair.rank, pair.scale.hex()])
            for tensor in (pair.a, pair.b, pair.magnitude):
                if tensor is not None:
                    _update(sha, [list(tensor.shape), str(tensor.dtype)])
                    sha.update(tensor.contiguous().view(torch.uint8).numpy().data)
        return sha.hexdigest()

    def _each(self) -> Iterator[LoraPair | None]:
        """The pair of each module."""
        return map(self.pairs.get, range(len(self.geometry.modules)))


def too_large(source: str, dtype: torch.dtype) -> AdapterError:
    """What to raise where a weight of the adapter in `source` has no finite value in `dtype`."""
    return AdapterError(
        f"adapter '{source}': a weight is too large for {dtype}: "
        "start with --dtype float32 or bfloat16"
    )


def _update(sha: "hashlib._Hash", fields: list[object]) -> None:
    """One line of JSON: it cannot be confused with its neighbours, which it delimits."""
    sha.update(json.dumps(fields).encode() + b"\n")
