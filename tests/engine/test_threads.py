"""Threads of a CPU: as many as asked for, else no more than may run at once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from motet.engine.start import threads
from motet.engine.start.threads import set_threads, usable_cores


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run_in(monkeypatch: pytest.MonkeyPatch, group: Path, quota: str | None, cores: int) -> None:
    """A container with this `cpu.max`, bound to as many cores."""
    monkeypatch.setattr(threads, "CGROUP", group)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    if quota is not None:
        (group / "cpu.max").write_text(f"{quota}\n")


@pytest.mark.parametrize(
    ("quota", "cores", "usable"),
    [
        (None, 6, 6),
        ("max 100000", 6, 6),
        ("400000 100000", 6, 4),
        ("350000 100000", 6, 3),
        ("400000 100000", 2, 2),
        ("50000 100000", 6, 1),
    ],
)
def test_cores_are_limited_by_affinity_and_by_quota(
    quota: str | None, cores: int, usable: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_in(monkeypatch, tmp_path, quota, cores)
    assert usable_cores() == usable


@pytest.mark.parametrize(("told", "wanted", "used"), [(8, None, 4), (3, None, 3), (3, 7, 7)])
def test_torch_is_told_what_is_asked_for_or_no_more_than_there_are_cores(
    told: int, wanted: int | None, used: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_in(monkeypatch, tmp_path, "400000 100000", cores=6)
    torch.set_num_threads(told)
    set_threads(wanted)
    assert torch.get_num_threads() == used
