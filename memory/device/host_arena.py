"""The one allocation that holds all KV and all adapters on the host."""

import mmap

import torch
from torch import Tensor

from motet.memory.layout import PageLayout


class HostArena:
    """`num_pages` pages of the device's size, in one tensor: each is one copy from or to a page
    of the device."""

    def __init__(
        self, layout: PageLayout, num_pages: int, dtype: torch.dtype, *, is_pinned: bool
    ) -> None:
        """Pages start undefined, and take no memory before they are touched.

        Unless they are pinned, so that a CUDA device copies from and to them by itself: then all
        of it is taken now.
        """
        num_elements = num_pages * layout.elements
        flat = (
            torch.empty(num_elements, dtype=dtype, pin_memory=True)
            if is_pinned
            else _untouched(num_elements, dtype)
        )
        self.pages: Tensor = flat.view(num_pages, layout.elements)


def _untouched(num_elements: int, dtype: torch.dtype) -> Tensor:
    """From the system, not from the C library, which may have kept what others have touched."""
    num_bytes = num_elements * dtype.itemsize
    memory = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(memory, dtype=dtype)
