"""Every kernel test runs on every backend and device, in every dtype an engine may have.

The tests of a module are of its GROUP of kernels: they run on the backends that bring it.

Interpreted Triton is slow: there the cases of a test take turns with the dtypes, if they are enough
for all of them, and the whole product runs with `make soak`.
"""

import os
from collections import defaultdict
from pathlib import Path

import pytest
import torch

from motet.kernels import BACKENDS, load_kernels
from tests.kernels.target import Target

NEEDS_GPU = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
)


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@pytest.hookimpl(tryfirst=True)  # before items are left out by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    cases: dict[str, dict[str, list[pytest.Function]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        if isinstance(item, pytest.Function) and Path(__file__).parent in item.path.parents:
            params = item.callspec.params if hasattr(item, "callspec") else {}
            if (params.get("target"), params.get("device")) == ("triton", "cpu"):
                rest = str({name: value for name, value in params.items() if name != "dtype"})
                cases[f"{item.path}::{item.originalname}"][rest].append(item)
    for of_test in cases.values():
        if len(of_test) >= len(DTYPES):
            for number, in_each_dtype in enumerate(of_test.values()):
                turn = (number + number // len(DTYPES)) % len(DTYPES)
                for item in in_each_dtype:
                    if item.callspec.params["dtype"] is not list(DTYPES.values())[turn]:
                        item.add_marker(pytest.mark.soak)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=NEEDS_GPU)])
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=DTYPES.values(), ids=list(DTYPES))
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
