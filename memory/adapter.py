"""Who an adapter is: a name bound to immutable content."""

import enum
from dataclasses import dataclass

from msgspec import Struct

from motet.memory.residency import Residency


class AdapterContent(Struct, frozen=True):
    """What a reader has found in a directory."""

    max_rank: int
    num_pages: int
    digest: str | None
    """Identifies what the kernels will see. None where only the header has been read."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """One generation of a name. Never changes; new content under the name is a new generation.

    `digest` identifies the content (what the kernels will see), so caches key on it alone and
    two names with equal content share pages. `generation` only tells which binding of the name a
    request runs on.
    """

    name: str
    digest: str | None
    """None as long as nobody has read it: requests wait until then. Sizes are 0 meanwhile."""
    generation: int
    max_rank: int
    num_pages: int
    path: str = ""
    """Directory it is read from."""


class Standing(enum.StrEnum):
    """What new requests make of a generation."""

    CURRENT = "current"
    """Its name means it."""
    LEAVING = "leaving"
    """Unloaded or replaced: who began on it ends on it."""
    GONE = "gone"


class AdapterNews(Struct, frozen=True):
    """A generation is new, its content has become known, or its standing has changed."""

    adapter: Adapter
    standing: Standing


class AdapterStatus(Struct, frozen=True):
    """Everything an operator may want to know of one generation."""

    adapter: Adapter
    standing: Standing
    state: Residency
    is_pinned: bool
    num_waiting: int
    """Requests that wait, for its content or for anything else."""
    num_running: int
    hits: int
    """Requests that began and found it on the device."""
    loads: int
    """Copies to the device."""
    evictions: int
    """From the device."""
    last_error: str | None = None
