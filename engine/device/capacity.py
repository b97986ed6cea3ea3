"""How much memory a device still has."""

import re
from pathlib import Path

import torch

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")  # version 2: what a container may use


def free_bytes(device: torch.device) -> int:
    """Bytes that could be allocated on the device now."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    return int(min(_available_bytes(), _container_bytes()))


def _available_bytes() -> int:
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", MEMINFO.read_text(), re.MULTILINE)
    assert found is not None, f"{MEMINFO} has no MemAvailable"
    return int(found[1]) * 1024


def _container_bytes() -> float:
    """What the container's limit leaves; page cache that can be dropped counts as free."""
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
    except FileNotFoundError:  # the root group has no limit
        return float("inf")
    if limit == "max":
        return float("inf")
    return max(0, int(limit) - used + int(stat["inactive_file"]))
