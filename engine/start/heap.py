"""Freed memory is kept for the next tensor."""

import ctypes

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Parameters of mallopt(3)."""

KEPT_BYTES = 512 << 20
"""Most free memory at the end of the heap: more than the activations of a step need."""


def keep_freed_memory() -> None:
    """From now on, the C library returns no memory of large tensors to the system.

    Otherwise glibc maps each of them by itself and unmaps it when it is freed. A long prompt makes
    and frees hundreds, and every 4 KiB of each are a page fault and zeros to write again.

    For the whole process, so not before weights and pool are there: what loading frees does go
    back. Does nothing where the C library has no such switch.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, KEPT_BYTES)
