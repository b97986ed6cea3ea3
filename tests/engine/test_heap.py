"""Tensors that come and go cost page faults only once."""

import ctypes
import platform
import resource
from types import SimpleNamespace

import pytest
import torch

from motet.engine.start.heap import keep_freed_memory

ELEMENTS = 1 << 24  # float32: 64 MiB, more than glibc ever keeps by itself


def faults_of_a_large_tensor() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(ELEMENTS)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no mallopt")
def test_a_tensor_takes_the_memory_of_the_one_before() -> None:
    keep_freed_memory()
    for _ in range(4):  # other tests may have left holes that fit: those are filled first
        faults_of_a_large_tensor()
    assert faults_of_a_large_tensor() < 100


def test_a_library_without_the_switch_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    keep_freed_memory()
