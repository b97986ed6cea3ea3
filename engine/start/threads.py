"""How many threads compute on a CPU."""

import os

import torch

from motet.engine.start.capacity import CGROUP


def set_threads(wanted: int | None) -> None:
    """Let torch, and the kernels with it, compute with so many.

    By default with as many as torch would take (OMP_NUM_THREADS is one way to tell it), but not
    more than cores this process may use: torch does not know of a container's quota.
    """
    torch.set_num_threads(wanted or min(torch.get_num_threads(), usable_cores()))


def usable_cores() -> int:
    """Whole cores, by affinity and by the quota of the container; at least one.

    Half a core is none: every operation would wait for the thread that gets it.
    """
    return max(1, int(min(len(os.sched_getaffinity(0)), _quota_cores())))


def _quota_cores() -> float:
    try:
        quota, period = (CGROUP / "cpu.max").read_text().split()
    except FileNotFoundError:  # the root group has no quota
        return float("inf")
    return float("inf") if quota == "max" else int(quota) / int(period)
