"""Draws tokens from logits."""

from torch import Tensor

from motet.kernels import DrawBatch
from motet.kernels.cpu.native import Function

_draw = Function("draw", "pppppppii")


def draw(token_ids: Tensor, logits: Tensor, batch: DrawBatch) -> None:
    _draw(
        token_ids, logits, batch.temperature, batch.top_k, batch.top_p, batch.min_p, batch.number,
        *logits.shape,
    )  # fmt: skip
