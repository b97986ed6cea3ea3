"""Kernels are put together by group, each from the backend that the table or the caller names."""

import importlib

import pytest

from motet.kernels import BACKENDS, GROUPS, cpu, load_kernels, operations, reference


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_has_every_operation_of_every_group(backend: str) -> None:
    assert BACKENDS[backend].keys() == GROUPS.keys()

    kernels = load_kernels(backend)

    assert all(callable(getattr(kernels, name)) for group in GROUPS for name in operations(group))


def test_a_group_may_come_from_another_backend() -> None:
    kernels = load_kernels("cpu", attention="reference")

    for name in operations("attention"):
        assert getattr(kernels, name) is getattr(reference, name)
    for group in ("elementwise", "lora", "draw"):
        for name in operations(group):
            assert getattr(kernels, name) is getattr(cpu, name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_has_the_operations_of_the_groups_that_it_brings_and_no_others(
    backend: str,
) -> None:
    module = importlib.import_module(f"motet.kernels.{backend}")
    own = [group for group in GROUPS if BACKENDS[backend][group] == module.__name__]
    assert sorted(module.__all__) == sorted(name for group in own for name in operations(group))


def test_an_unknown_group_is_an_error() -> None:
    with pytest.raises(KeyError):
        load_kernels("cpu", atention="reference")
