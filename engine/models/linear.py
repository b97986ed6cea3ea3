"""Products with the weights of a model, which lie in the order that their device reads fastest."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from motet.kernels.cpu.compiler import NotCompiled
from motet.kernels.cpu.linear import PackedLinear

Product = Callable[[Tensor, Tensor | None], Tensor]
"""Of `x [num_rows, in_features]` and a bias or None: `x @ weight.T + bias`."""

Packer = Callable[[Tensor], Product]
"""Copies a weight `[out_features, in_features]` into an order of its own."""

INSTRUCTIONS = {
    torch.bfloat16: ("amx_bf16", "avx512_bf16", "bf16"),
    torch.float16: ("amx_fp16", "avx512_fp16"),
}
"""What a processor has, as torch calls it, whose oneDNN multiplies faster than in float32."""


class Linear:
    """`x @ weight.T + bias`. `pack` is for weights that will not change any more."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self._weight: Tensor | None = weight  # until it is packed
        self._bias = bias
        self._product = _plain(weight)

    def pack(self, packer: Packer) -> None:
        """Keep only a packed copy of the weight; only once."""
        assert self._weight is not None, "packed twice"
        self._product = packer(self._weight)
        self._weight = None

    def forward(self, x: Tensor) -> Tensor:
        """From `[num_rows, in_features]` to `[num_rows, out_features]`."""
        return self._product(x, self._bias)


def find_packer(
    dtype: torch.dtype, device: torch.device, *, is_deterministic: bool = False
) -> Packer | None:
    """The fastest that works here, each tried on a small product; None: plain weights are best.

    Deterministic, a row's product is the same in any batch, in every bit; then None says that
    nothing here can promise that.
    """
    if device.type != "cpu":
        return None
    candidates = [pack_native]
    if not is_deterministic:  # oneDNN chooses the order of its sums by the number of rows
        candidates.insert(0 if _has_instructions(dtype) else 1, pack_for_onednn)
    return next((packer for packer in candidates if _works(packer, dtype)), None)


def pack_native(weight: Tensor) -> Product:
    """For our own kernel, which is deterministic. Raises NotCompiled."""
    return PackedLinear(weight).product


def pack_for_onednn(weight: Tensor) -> Product:
    """Without a number of rows to expect, its blocks suit any."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight)

    def product(x: Tensor, bias: Tensor | None) -> Tensor:
        result: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
        return result

    return product


def _plain(weight: Tensor) -> Product:
    return lambda x, bias: functional.linear(x, weight, bias)


def _has_instructions(dtype: torch.dtype) -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in INSTRUCTIONS.get(dtype, ()))


def _works(packer: Packer, dtype: torch.dtype) -> bool:
    # Small integers: exact in every dtype, whatever the order of the sums.
    x, weight = (torch.arange(n * 24).remainder(5).view(n, 24).to(dtype) for n in (3, 40))
    try:
        product = packer(weight)(x, None)
    except (NotCompiled, AttributeError, RuntimeError):
        return False  # no compiler, no such operation in this torch, no such instructions
    return torch.equal(product.double(), x.double() @ weight.double().T)
