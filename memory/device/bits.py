"""Looks at the numbers of tensors in the thread that calls, and in no other.

Torch shares work of more than some 32,000 elements among a team of threads, another one for each
thread that asks: beside a step that computes, both teams would wait for each other's cores.
"""

import torch
from torch import Tensor

BLOCK_ELEMENTS = 2**18
"""Looked at together: what this takes of memory beside the tensor stays in a cache."""

FORMATS = {
    torch.float32: (torch.int32, 0x7F80_0000),
    torch.bfloat16: (torch.int16, 0x7F80),
    torch.float16: (torch.int16, 0x7C00),
}
"""Dtype -> integers of its size, and the bits of the exponent, which NaN and infinity have all."""


def is_finite(tensor: Tensor) -> bool:
    """Whether no element is NaN or infinite. The tensor is contiguous."""
    integers, exponent = FORMATS[tensor.dtype]
    numbers = tensor.view(-1).view(integers).numpy()
    blocks = range(0, len(numbers), BLOCK_ELEMENTS)
    return not any(
        ((numbers[start : start + BLOCK_ELEMENTS] & exponent) == exponent).any() for start in blocks
    )
