"""The root mean square norm, and the sum before it."""

from torch import Tensor

from motet.kernels.cpu.native import DTYPES, Function

_add_rms_norm = Function("add_rms_norm", "ppppiiiiiiifi")


def add_rms_norm(
    out: Tensor, x: Tensor, delta: Tensor | None, weight: Tensor, epsilon: float
) -> None:
    out, x = _by_head(out), _by_head(x)
    _add_rms_norm(
        out, x, delta, weight, *x.shape, *out.stride()[:2], *x.stride()[:2], epsilon,
        DTYPES[x.dtype],
    )  # fmt: skip


def _by_head(rows: Tensor) -> Tensor:
    """`[num_tokens, num_heads, size]`, of `[num_tokens, size]` too."""
    return rows if rows.dim() == 3 else rows.unsqueeze(1)
