"""Tensors that come and go cost page faults only at first."""

import ctypes
import platform
import resource
import subprocess
import sys
from types import SimpleNamespace

import pytest

from motet.engine.start.heap import keep_freed_memory

MEASURE = """
import resource, torch
from motet.engine.start.heap import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(1 << 24)  # float32: 64 MiB, more than glibc ever keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_freed_memory()
print(sum(faults() for _ in range(20)))
"""


PAGES = (64 << 20) // resource.getpagesize()
"""Of one such tensor."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no mallopt")
def test_a_tensor_takes_the_memory_of_the_one_before() -> None:
    """In a process of its own: the heap of this one is full of what other tests have left.

    Small objects that come between decide in which hole a tensor lies, and each hole is filled
    once: on some machines one, on others three. Without the switch all twenty tensors fault.
    """
    ended = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True)
    assert int(ended.stdout) < 20 * PAGES // 2, ended.stderr


def test_a_library_without_the_switch_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    keep_freed_memory()
