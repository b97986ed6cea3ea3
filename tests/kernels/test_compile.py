"""Every Triton kernel compiles for the GPUs we support, on a machine that need not have one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("capability", "dtypes"),
    [
        ("80", ["fp32", "bf16", "fp16"]),  # has less shared memory
        ("90", ["bf16"]),
        pytest.param("90", ["fp32", "fp16"], marks=pytest.mark.soak),
    ],
)
def test_every_triton_kernel_compiles(capability: str, dtypes: list[str]) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}

    run = subprocess.run(
        [sys.executable, "-m", "tests.kernels.compile_triton", capability, *dtypes],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )

    assert run.returncode == 0, run.stdout + run.stderr
