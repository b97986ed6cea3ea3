"""Moves pages between host and device beside the computation."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch

from motet.memory.copy import Copy, CopyEnded, PagePair, Ticket
from motet.memory.device.arena import Arena
from motet.memory.device.store import HostStore

log = logging.getLogger(__name__)

CHUNK_PAGES = 4
"""Pages between two looks at whether a copy is still wanted."""


class Ends(Protocol):
    """Where the ends of copies go, from any thread."""

    def put(self, ended: CopyEnded, /) -> None: ...


class Copier:
    """Copies one after the other, in a thread of its own that is there while there are any."""

    def __init__(self, arena: Arena, store: HostStore, ends: Ends) -> None:
        self._arena = arena
        self._store = store
        self._ends = ends
        self._thread = ThreadPoolExecutor(1, "motet-copier")  # it ends with this object
        self._under_way: set[Ticket] = set()
        self._cancelled: set[Ticket] = set()
        self._link = _CudaLink(arena) if arena.flat.is_cuda else _HostLink(arena)

    def begin(self, copy: Copy) -> None:
        self._under_way.add(copy.ticket)
        self._thread.submit(self._run, copy)

    def cancel(self, ticket: Ticket) -> None:
        """Stop after the current chunk. The end of a copy that is over is told again."""
        self._cancelled.add(ticket)
        if ticket not in self._under_way:
            self._cancelled.discard(ticket)
            self._ends.put(CopyEnded(ticket, 0))

    def _run(self, copy: Copy) -> None:
        num_pages, error = 0, None
        try:
            for chunk in self._chunks(copy):
                self._link.copy(self._store[copy.digest].pages, chunk)
                num_pages += len(chunk)
        except Exception as failure:  # whatever it is, those who wait must hear of it
            log.exception("copy of adapter %s", copy.digest)
            error = str(failure) or type(failure).__name__
        self._under_way.discard(copy.ticket)
        self._cancelled.discard(copy.ticket)
        self._ends.put(CopyEnded(copy.ticket, num_pages, error))

    def _chunks(self, copy: Copy) -> Iterator[tuple[PagePair, ...]]:
        for start in range(0, len(copy.pages), CHUNK_PAGES):
            if copy.ticket in self._cancelled:
                return
            yield copy.pages[start : start + CHUNK_PAGES]


class _HostLink:
    """Both sides are memory of the same processor."""

    def __init__(self, arena: Arena) -> None:
        # By numpy, which copies in this thread alone and lets others run Python meanwhile: torch
        # would take a second team of threads beside those that compute.
        self._pages = arena.pages.view(torch.uint8).numpy()

    def copy(self, image: torch.Tensor, pairs: tuple[PagePair, ...]) -> None:
        host = image.view(torch.uint8).numpy()
        for pair in pairs:
            np.copyto(self._pages[pair.device], host[pair.host])


class _CudaLink:
    """Copies of their own stream, one for each page, so that the copy engines do the work."""

    def __init__(self, arena: Arena) -> None:
        self._pages = arena.pages
        self._stream = torch.cuda.Stream(arena.flat.device)  # type: ignore[no-untyped-call]

    def copy(self, image: torch.Tensor, pairs: tuple[PagePair, ...]) -> None:
        """Returns when the pages are there for every stream."""
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            for pair in pairs:
                self._pages[pair.device].copy_(image[pair.host], non_blocking=True)
        self._stream.synchronize()
