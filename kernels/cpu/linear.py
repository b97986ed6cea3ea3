"""Products with weights that are packed once."""

import torch
from torch import Tensor

from motet.kernels.cpu.native import DTYPES, Function

_panel_width = Function("panel_width", "p")
_pack_linear = Function("pack_linear", "ppiii")
_linear = Function("linear", "ppppiiiii")


class PackedLinear:
    """`x @ weight.T`, with a copy of the weight in the order in which it is read.

    In fp32 whatever the dtype, and rounded once. A row's product is the same in any batch, in
    every bit.
    """

    def __init__(self, weight: Tensor) -> None:
        self._out_features, in_features = weight.shape
        width = torch.empty((), dtype=torch.int64)
        _panel_width(width)
        num_panels = -(-self._out_features // int(width))
        self._packed = weight.new_empty(num_panels, in_features, int(width))
        _pack_linear(self._packed, weight.contiguous(), *weight.shape, DTYPES[weight.dtype])

    def product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """From `[num_rows, in_features]` to `[num_rows, out_features]`, plus bias."""
        num_rows, in_features = x.shape
        if x.stride(1) != 1:
            x = x.contiguous()
        y = x.new_empty(num_rows, self._out_features)
        _linear(
            y, x, self._packed, bias, num_rows, x.stride(0), self._out_features, in_features,
            DTYPES[x.dtype],
        )  # fmt: skip
        return y
