"""Copies between host and device, as values: what is to be moved, and how it ended."""

import enum
from typing import NewType

from msgspec import Struct

from motet.memory.adapter import AdapterContent
from motet.memory.page import PageId

Ticket = NewType("Ticket", int)
"""Names one copy for ever: none is used twice, so ends that come late or again are told apart."""


class Direction(enum.StrEnum):
    TO_DEVICE = "to_device"
    TO_HOST = "to_host"


class PagePair(Struct, frozen=True, gc=False):
    """One page of a copy."""

    host: PageId
    device: PageId


class Copy(Struct, frozen=True, gc=False):
    """Move these pages, in this order."""

    ticket: Ticket
    direction: Direction
    pages: tuple[PagePair, ...]
    is_ahead: bool = False
    """Nobody waits for it yet: it makes way for others, after its current chunk."""


class Read(Struct, frozen=True, gc=False):
    """Bring the content of an adapter directory into pages of the host."""

    ticket: Ticket
    path: str
    pages: tuple[PageId, ...] = ()
    """Of the host, for the pages of the adapter in their order. None: only its header is read, to
    know how many it takes."""
    digest: str | None = None
    """What the content has to be; None: whatever it is."""


class Transfers(Struct, frozen=True, gc=False):
    """What the executor is told of memory between two steps. It takes these in this order."""

    released: tuple[PageId, ...] = ()
    """Pages of the device freed since the last time. Their content is dead; tests poison it."""
    released_on_host: tuple[PageId, ...] = ()
    """As `released`."""
    forgotten: tuple[str, ...] = ()
    """Digests of adapters that will not be used again before they are read again."""
    copies: tuple[Copy, ...] = ()
    """Copies to begin, the most urgent first."""
    reads: tuple[Read, ...] = ()
    """Directories to read, the most urgent first."""
    hurried: tuple[Ticket, ...] = ()
    """Copies ahead that somebody waits for now: in line from now on as if begun now. Some may have
    ended."""
    cancelled: tuple[Ticket, ...] = ()
    """Copies and reads to stop as soon as possible, and then to tell the end of: again if it was
    told."""

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__struct_fields__)


class CopyEnded(Struct, frozen=True, gc=False, tag=True):
    """The copy touches none of its pages any more."""

    ticket: Ticket
    num_pages: int
    """The first pages of the copy, which are complete."""
    error: str | None = None
    """Why there are no more; None also where it was cancelled."""


class ReadEnded(Struct, frozen=True, gc=False, tag=True):
    """The read touches none of its pages any more."""

    ticket: Ticket
    content: AdapterContent | None
    """None where it has failed, or was cancelled."""
    error: str | None = None
    """Why it has failed."""
    kind: str = "AdapterError"
    """Name of the error in `motet.errors`: AdapterChanged where the content is not what it has to
    be, or takes another number of pages."""
