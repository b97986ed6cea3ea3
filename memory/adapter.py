"""Who an adapter is: a name bound to immutable content."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Adapter:
    """One generation of a name. Never changes; new content under the name is a new generation.

    `digest` identifies the content (what the kernels will see), so caches key on it alone and
    two names with equal content share pages. `generation` only tells which binding of the name a
    request runs on.
    """

    name: str
    digest: str
    generation: int
    max_rank: int
    num_pages: int
    path: str = ""
    """Directory it was read from: for people."""
