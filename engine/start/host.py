"""How much memory of the host is kept for pages."""

import math

import torch

from motet.engine.start.blueprint import Blueprint
from motet.errors import ConfigError

HOST = torch.device("cpu")

SHARE = 0.25
"""Of the memory that is free beside model and pool. On a CPU nothing of it is taken before it is
used; as much again stays for the files of adapters, which the system keeps in memory by itself."""

MAX_PINNED_BYTES = 32 * 1024**3
"""By default. Memory for a GPU is taken and pinned at the start, at a few GiB a second."""

STAGED_ADAPTERS = 2
"""That there is always room for: one is read while another is copied to the device."""

STAGED_RANK = 16
"""Of adapters on every linear layer that there is room for where none is known."""


def host_pages(blueprint: Blueprint, free: int, largest_adapter: int) -> int:
    """How many, where `free` bytes are free beside model and pool, and the largest adapter that is
    known takes `largest_adapter` pages.

    Raises ConfigError where there is less memory than was asked for, or than adapters need.
    """
    wanted, page_bytes = blueprint.config.pool.host_bytes, blueprint.layout.page_bytes
    least = STAGED_ADAPTERS * max(largest_adapter, _usual_adapter(blueprint))
    passing = (
        f"adapters pass through the host, and {STAGED_ADAPTERS} of the largest take "
        f"{least * page_bytes} bytes"
    )
    if free < least * page_bytes:
        raise ConfigError(
            f"{passing}: beside model and pool only {max(free, 0)} are free there; start with a "
            "smaller pool"
        )
    if wanted is None:
        return max(least, int(min(free * SHARE, _most_unasked(blueprint))) // page_bytes)
    if wanted > free:
        raise ConfigError(
            f"--host-bytes is {wanted}: beside model and pool only {free} bytes are free on the "
            "host; give at most that, or a smaller --pool-bytes"
        )
    if 0 < wanted < least * page_bytes:
        raise ConfigError(f"--host-bytes is {wanted}: {passing}; give at least that, or 0 for it")
    return wanted // page_bytes or least


def _most_unasked(blueprint: Blueprint) -> float:
    return MAX_PINNED_BYTES if blueprint.device.type == "cuda" else math.inf


def _usual_adapter(blueprint: Blueprint) -> int:
    return blueprint.uniform_adapter_pages(min(STAGED_RANK, blueprint.config.batch.max_lora_rank))
