"""Every Triton kernel compiles for the GPUs we support, on a machine that need not have one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("capability", ["80", "90"])
def test_every_triton_kernel_compiles(capability: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}

    run = subprocess.run(
        [sys.executable, "-m", "tests.kernels.compile_triton", capability],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )

    assert run.returncode == 0, run.stdout + run.stderr
