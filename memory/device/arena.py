"""The one allocation that holds all KV and all adapters on a device."""

from collections.abc import Sequence

import torch
from torch import Tensor

from motet.memory.layout import PageLayout
from motet.memory.page import PageId


class Arena:
    """`num_pages` equal pages in one flat tensor; nothing else allocates KV or adapter memory.

    The three views share that memory and live as long as the arena.
    """

    def __init__(
        self, layout: PageLayout, num_pages: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        """Pages start undefined, as every page that changes hands is: nobody may read them."""
        self.flat: Tensor = torch.empty(num_pages * layout.elements, dtype=dtype, device=device)
        self.pages: Tensor = self.flat.view(num_pages, layout.elements)
        self.kv: Tensor = self.flat.view(num_pages, *layout.shape)

    def poison(self, pages: Sequence[PageId]) -> None:
        """Fill dead pages with NaN: whoever still reads them is found out."""
        self.pages[list(pages)] = torch.nan
