"""The gate of an MLP."""

from torch import Tensor

from motet.kernels.cpu.native import DTYPES, Function

_silu_mul = Function("silu_mul", "ppiii")


def silu_mul(out: Tensor, gate_up: Tensor) -> None:
    _silu_mul(out, gate_up, *out.shape, DTYPES[out.dtype])
