"""Norms and gates."""

import torch
from torch import Tensor
from torch.nn import functional


def add_rms_norm(
    out: Tensor, x: Tensor, delta: Tensor | None, weight: Tensor, epsilon: float
) -> None:
    if delta is not None:
        x += delta
    wide = x.float()
    scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
    torch.mul(weight, (wide * scale).to(x.dtype), out=out)


def silu_mul(out: Tensor, gate_up: Tensor) -> None:
    gate, up = gate_up.chunk(2, dim=-1)
    torch.mul(functional.silu(gate), up, out=out)
