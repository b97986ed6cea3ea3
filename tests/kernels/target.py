"""What a kernel test runs on, and how near its results must come to a dense computation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from motet.kernels import Kernels

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2**-6, torch.float16: 2**-9}
"""Of what is stored in a dtype: two units in the last place of the half types, since the
interpreter truncates to bf16 where a GPU rounds."""


@dataclass(frozen=True, slots=True)
class Target:
    kernels: Kernels
    device: torch.device
    dtype: torch.dtype

    def randn(self, *shape: int) -> Tensor:
        """Normal values that the dtype holds exactly."""
        return torch.randn(shape).to(self.dtype).to(self.device)

    def ints(
        self, values: Sequence[int] | Sequence[Sequence[int]], dtype: torch.dtype = torch.int32
    ) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=self.device)


def assert_near(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Equal within `tolerance` of the typical expected size; NaN is never near."""
    size = expected.double().square().mean().sqrt().item() if expected.numel() else 0.0
    torch.testing.assert_close(
        actual.double().cpu(), expected.double().cpu(), rtol=tolerance, atol=tolerance * size
    )


def bits(tensor: Tensor) -> Tensor:
    """A copy in which NaN equals itself."""
    return tensor.contiguous().view(torch.uint8).clone()
