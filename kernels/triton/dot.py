"""The matrix product that all kernels share."""

import triton
import triton.language as tl

INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)
"""True when kernels run on CPU tensors, one program after another."""


@triton.jit
def dot(a, b):
    """a @ b, summed in fp32.

    The interpreter gets a product of bf16 wrong. There both sides are cast to fp32, which is
    exact, so the result is the same.
    """
    if INTERPRETED:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, input_precision="ieee")
