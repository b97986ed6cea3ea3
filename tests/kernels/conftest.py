"""Every kernel test runs on every backend and device, in every dtype an engine may have."""

import os

import pytest
import torch

from motet.kernels import BACKENDS, load_backend
from tests.kernels.target import Target

NEEDS_GPU = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=NEEDS_GPU)])
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[torch.float32, torch.bfloat16, torch.float16], ids=["fp32", "bf16", "fp16"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    assert isinstance(request.param, torch.dtype)
    return request.param


@pytest.fixture(params=BACKENDS)
def target(request: pytest.FixtureRequest, device: str, dtype: torch.dtype) -> Target:
    """A backend, where it runs and on what."""
    if request.param == "triton" and device == "cpu" and not os.environ.get("TRITON_INTERPRET"):
        pytest.skip("with a GPU, Triton compiles for it and cannot interpret")
    return Target(load_backend(request.param), torch.device(device), dtype)
