"""How much memory a device still has, and how much of it the pool may take."""

import re
from pathlib import Path

import torch

from motet.errors import ConfigError

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")  # version 2: what a container may use

POOL_SHARE = {"cpu": 0.25, "cuda": 0.9}
"""Of the memory that is free after loading, on CUDA less what a step at the limits needs.

On a CPU the rest stays for the system and other programs.
"""


def pool_bytes(wanted: int | None, free: int, device: torch.device) -> int:
    """The size that was asked for, or a share of what is free beside the model.

    Raises ConfigError when there is less.
    """
    if wanted is None:
        return int(free * POOL_SHARE[device.type])
    if wanted > free:
        raise ConfigError(
            f"--pool-bytes is {wanted}: with the model loaded, only {max(free, 0)} bytes are free "
            f"on {device}; start with a smaller pool"
        )
    return wanted


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
