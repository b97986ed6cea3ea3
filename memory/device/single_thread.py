"""Work on tensors in the thread that calls, and in no other.

Torch shares work of more than some 32,000 elements among a team of threads, another one for each
thread that asks: beside a step that computes, both teams would wait for each other's cores.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

COPIED_ELEMENTS = 2**14
"""Copied at a time: torch shares none of so little."""

CHECKED_ELEMENTS = 2**18
"""Looked at together, by numpy: what this takes beside the tensor stays in a cache."""

FORMATS = {
    torch.float32: (torch.int32, 0x7F80_0000),
    torch.bfloat16: (torch.int16, 0x7F80),
    torch.float16: (torch.int16, 0x7C00),
}
"""Dtype -> integers of its size, and the bits of the exponent, which NaN and infinity have all."""


def copy_rows(target: Tensor, rows: Tensor) -> None:
    """Fill a matrix with another of its shape, cast to its dtype; both have few rows."""
    if target.dtype == rows.dtype:  # as it is: by numpy, in one piece
        np.copyto(_integers(target), _integers(rows))
        return
    if rows.numel() <= COPIED_ELEMENTS:
        target.copy_(rows)
        return
    width = max(1, COPIED_ELEMENTS // len(rows))
    parts = (torch.split(matrix, width, dim=1) for matrix in (target, rows))
    for part, columns in zip(*parts, strict=True):
        part.copy_(columns)


def clear(tensor: Tensor) -> None:
    """Fill a contiguous tensor with zeros."""
    tensor.view(-1).view(torch.uint8).numpy().fill(0)


def is_finite(tensor: Tensor) -> bool:
    """Whether no element is NaN or infinite. The tensor is contiguous."""
    _, exponent = FORMATS[tensor.dtype]
    numbers = _integers(tensor.view(-1))
    return not any(
        ((numbers[start : start + CHECKED_ELEMENTS] & exponent) == exponent).any()
        for start in range(0, len(numbers), CHECKED_ELEMENTS)
    )


def _integers(tensor: Tensor) -> "np.ndarray[Any, Any]":
    """The same bits, for numpy, which does not know all dtypes."""
    integers, _ = FORMATS[tensor.dtype]
    return tensor.view(integers).numpy()
