"""What moving and computing state takes: what decides between restoring KV and computing it."""

import math

from msgspec import Struct


class Costs(Struct, frozen=True):
    """Seconds, as measured on a machine or assumed of one. Only their order matters."""

    page_copy_s: float = 0.0
    """A page between host and device, either way."""
    copy_latency_s: float = 0.0
    """From the decision to copy until its first page moves, and from its last until it is known."""
    token_s: float = 1.0
    """A token of a prompt, beside others in a step."""
    page_read_s: float = 0.0
    """A page from disk to host; 0: as nobody has measured it, ten copies."""

    def restores(self, num_pages: int, num_tokens: int) -> bool:
        """Is it sooner to copy so many pages to the device than to compute their tokens?"""
        return self._copy_s(num_pages) < num_tokens * self.token_s

    def restore_s(self, num_pages: int, num_tokens: int) -> float:
        """Seconds to copy so many pages or compute their tokens, whichever is sooner."""
        return min(self._copy_s(num_pages), num_tokens * self.token_s)

    def copied(self) -> int:
        """Class of what is restored by a copy from the host."""
        return restore_class(self.page_copy_s)

    def read(self) -> int:
        """Class of what is restored from disk."""
        return restore_class(self.page_copy_s + (self.page_read_s or 10 * self.page_copy_s))

    def computed(self, page_tokens: int) -> int:
        """Class of what is restored by computing it."""
        return restore_class(page_tokens * self.token_s)

    def _copy_s(self, num_pages: int) -> float:
        return self.copy_latency_s + num_pages * self.page_copy_s


def restore_class(seconds: float) -> int:
    """Of pages that take so long each: within a class they differ by less than a factor of two."""
    return math.floor(math.log2(min(max(seconds, 1e-9), 1e9)))
