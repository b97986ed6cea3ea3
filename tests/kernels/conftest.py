"""Every kernel test runs on every backend and device, in every dtype an engine may have.

The tests of a module are of its GROUP of kernels: they run on the backends that bring it.
"""

import os

import pytest
import torch

from motet.kernels import BACKENDS, load_kernels
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


def brings(backend: str, group: str) -> bool:
    """Not taken from another backend."""
    return BACKENDS[backend][group].rpartition(".")[2] == backend


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    group = getattr(metafunc.module, "GROUP", None)
    if group is not None and "target" in metafunc.fixturenames:
        own = [backend for backend in BACKENDS if brings(backend, group)]
        metafunc.parametrize("target", own, indirect=True)


@pytest.fixture
def target(request: pytest.FixtureRequest, device: str, dtype: torch.dtype) -> Target:
    """A backend, where it runs and on what."""
    if request.param == "triton" and device == "cpu" and not os.environ.get("TRITON_INTERPRET"):
        pytest.skip("with a GPU, Triton compiles for it and cannot interpret")
    return Target(load_kernels(request.param), torch.device(device), dtype)
