"""Products with the weights of a model, which lie in the order that their device reads fastest."""

import torch
from torch import Tensor
from torch.nn import functional

UNPACKED_ROWS = 1024
"""From here on, float32 is unpacked for each product: BLAS is then faster by more than that costs
(bench/LOG.md)."""


class Linear:
    """`x @ weight.T + bias`. `pack` is for weights that will not change any more."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self._weight = weight  # [out_features, in_features], plain or packed
        self._bias = bias

    def pack(self) -> None:
        """Reorder the weight for oneDNN, into a copy. Only where `can_pack` says so."""
        self._weight = _packed(self._weight)

    def forward(self, x: Tensor) -> Tensor:
        """From `[num_rows, in_features]` to `[num_rows, out_features]`."""
        if not self._weight.is_mkldnn:
            return functional.linear(x, self._weight, self._bias)
        if x.dtype is torch.float32 and len(x) >= UNPACKED_ROWS:
            return functional.linear(x, self._weight.to_dense(), self._bias)
        return _packed_product(x, self._weight, self._bias)


def can_pack(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether oneDNN multiplies packed weights of this dtype here, tried on a small product.

    Without bf16 instructions, say, it refuses bfloat16.
    """
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if device.type != "cpu" or not has_onednn:
        return False
    # Small integers: exact in every dtype, whatever the order of the sums.
    x, weight = (torch.arange(n * 24).remainder(5).view(n, 24).to(dtype) for n in (3, 40))
    try:
        product = _packed_product(x, _packed(weight), None)
    except (AttributeError, RuntimeError):  # no such operation in this torch, no such instructions
        return False
    return torch.equal(product.double(), x.double() @ weight.double().T)


def _packed(weight: Tensor) -> Tensor:
    """In oneDNN's blocks; without a number of rows to expect, they suit any."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight)
    return packed


def _packed_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product
