"""What DoRA does to outputs, computed once from the weights (arXiv:2402.09353).

The updated weight `W + scale * B @ A` has its rows rescaled to the trained magnitude, the bias not:
an output `v = (W + scale * B @ A) x + bias` becomes `gain * (v - bias) + bias`.
"""

import torch
from torch import Tensor

from motet.errors import AdapterError
from motet.memory.device.base_tensors import BaseTensors
from motet.memory.device.weights import AdapterWeights, too_large
from motet.memory.geometry import Module

BLOCK_ROWS = 1024
"""Of a weight that are updated at a time: a large one takes no more memory."""


def output_gains(
    weights: AdapterWeights, module: int, base: BaseTensors, dtype: torch.dtype
) -> Tensor:
    """Gains and shifts of the outputs of a rescaled module, float32 `[2, out_features]`.

    The matrices count as the engine computes with them, in `dtype`. Raises AdapterError where the
    base has no such weight, or a row of the updated one has no length to divide by.
    """
    target, pair = weights.geometry.modules[module], weights.pairs[module]
    assert pair.magnitude is not None, "not rescaled"
    weight = _base_weight(weights, target, base)
    a, b = (matrix.to(dtype).float() for matrix in (pair.a, pair.b))
    norms = torch.cat(
        [
            torch.linalg.vector_norm(rows.to(dtype).float() + pair.scale * part @ a, dim=1)
            for rows, part in zip(_blocks(weight), _blocks(b), strict=True)
        ]
    )
    if not norms.isfinite().all():
        raise too_large(weights.source, dtype)
    if not norms.all():
        raise AdapterError(
            f"adapter '{weights.source}': DoRA divides by the norm of a row of '{target.path}' "
            "that is zero: train it again, or without use_dora"
        )
    gains = pair.magnitude.float() / norms
    bias = base.tensor(f"{target.path}.bias")
    shifts = torch.zeros_like(gains) if bias is None else (1 - gains) * bias.to(dtype).float()
    return torch.stack((gains, shifts))


def _blocks(matrix: Tensor) -> tuple[Tensor, ...]:
    return torch.split(matrix, BLOCK_ROWS)


def _base_weight(weights: AdapterWeights, target: Module, base: BaseTensors) -> Tensor:
    """`[out_features, in_features]`, paddings included."""
    weight = base.tensor(f"{target.path}.weight")
    if weight is None:
        raise AdapterError(
            f"adapter '{weights.source}': the base model has no weight '{target.path}' that DoRA "
            "could rescale: serve the model it was trained for"
        )
    return weight.T if target.is_embedding else weight
