"""What moving and computing state takes: what decides between restoring KV and computing it."""

from msgspec import Struct


class Costs(Struct, frozen=True):
    """Seconds, as measured on a machine or assumed of one. Only their order matters."""

    page_copy_s: float = 0.0
    """A page between host and device, either way."""
    copy_latency_s: float = 0.0
    """From the decision to copy until its first page moves, and from its last until it is known."""
    token_s: float = 1.0
    """A token of a prompt, beside others in a step."""

    def restores(self, num_pages: int, num_tokens: int) -> bool:
        """Is it sooner to copy so many pages to the device than to compute their tokens?"""
        copy_s = self.copy_latency_s + num_pages * self.page_copy_s
        return copy_s < num_tokens * self.token_s
