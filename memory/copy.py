"""Copies between host and device, as values: what is to be moved, and how it ended."""

import enum
from typing import NewType

from msgspec import Struct

from motet.memory.page import PageId

Ticket = NewType("Ticket", int)
"""Names one copy for ever: none is used twice, so ends that come late or again are told apart."""


class Direction(enum.StrEnum):
    TO_DEVICE = "to_device"


class PagePair(Struct, frozen=True, gc=False):
    """One page of a copy."""

    host: int
    """Page of the host image."""
    device: PageId


class Copy(Struct, frozen=True, gc=False):
    """Move these pages, in this order."""

    ticket: Ticket
    direction: Direction
    digest: str
    """Of the adapter whose host image it is."""
    pages: tuple[PagePair, ...]


class Transfers(Struct, frozen=True, gc=False):
    """What the executor is told of memory between two steps. It takes these in this order."""

    released: tuple[PageId, ...] = ()
    """Pages freed since the last time. Their content is dead; tests poison it."""
    copies: tuple[Copy, ...] = ()
    """Copies to begin."""
    cancelled: tuple[Ticket, ...] = ()
    """Copies to stop as soon as possible, and then to tell the end of: again if it was told."""

    def __bool__(self) -> bool:
        return bool(self.released or self.copies or self.cancelled)


class CopyEnded(Struct, frozen=True, gc=False, tag=True):
    """The copy touches none of its pages any more."""

    ticket: Ticket
    num_pages: int
    """The first pages of the copy, which are complete."""
    error: str | None = None
    """Why there are no more; None also where it was cancelled."""
