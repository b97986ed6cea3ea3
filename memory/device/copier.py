"""Moves pages between host and device beside the computation."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Protocol

import numpy as np
import torch

from motet.memory.copy import Copy, CopyEnded, Direction, PagePair, Ticket
from motet.memory.device.arena import Arena
from motet.memory.device.host_arena import HostArena
from motet.memory.device.throttle import Throttle
from motet.memory.device.workers import Workers

log = logging.getLogger(__name__)

CHUNK_BYTES = 4 * 1024**2
"""Moved between two looks at whether a copy is still wanted; at least a page."""


class Ends(Protocol):
    """Where the ends of copies go, from any thread."""

    def put(self, ended: CopyEnded, /) -> None: ...


class Copier:
    """In each direction, copies one after the other in the order given."""

    def __init__(
        self, arena: Arena, host: HostArena, ends: Ends, link_gbps: float | None = None
    ) -> None:
        """With `link_gbps` each direction is as slow as a link of so many gigabits per second."""
        self._device = arena.flat.device
        self._ends = ends
        link = _CudaLink if arena.flat.is_cuda else _HostLink
        self._lanes = {
            direction: _Lane(direction, link(arena, host, direction), ends, link_gbps)
            for direction in Direction
        }

    def begin(self, copies: Iterable[Copy]) -> None:
        """They see what has been computed until now, and none of it sees them."""
        written = torch.cuda.current_stream(self._device).record_event() if self._is_cuda else None
        for copy in copies:
            self._lanes[copy.direction].begin(copy, written)

    def cancel(self, ticket: Ticket) -> None:
        """Stop after the current chunk. The end of a copy that is over is told again."""
        if not any(lane.cancel(ticket) for lane in self._lanes.values()):
            self._ends.put(CopyEnded(ticket, 0))

    @property
    def _is_cuda(self) -> bool:
        return self._device.type == "cuda"


class _Link(Protocol):
    """One direction between the two arenas."""

    page_bytes: int

    def wait(self, written: torch.cuda.Event) -> None:
        """Copies from now on come after it."""

    def copy(self, pairs: tuple[PagePair, ...]) -> None:
        """Returns when the pages are there for everybody."""


class _Lane:
    """The copies of one direction, in a thread of their own."""

    def __init__(
        self, direction: Direction, link: _Link, ends: Ends, link_gbps: float | None
    ) -> None:
        self._link = link
        self._ends = ends
        self._throttle = None if link_gbps is None else Throttle(link_gbps)
        self._chunk_pages = max(1, CHUNK_BYTES // link.page_bytes)
        self._worker = Workers(f"motet-{direction.replace('_', '-')}")
        self._under_way: set[Ticket] = set()
        self._cancelled: set[Ticket] = set()
        self._lock = threading.Lock()  # for both, and so that an end is told before it is over

    def begin(self, copy: Copy, written: torch.cuda.Event | None) -> None:
        with self._lock:
            self._under_way.add(copy.ticket)
        self._worker.add(partial(self._run, copy, written))

    def cancel(self, ticket: Ticket) -> bool:
        """False where no such copy is under way."""
        with self._lock:
            is_under_way = ticket in self._under_way
            if is_under_way:
                self._cancelled.add(ticket)
            return is_under_way

    def _run(self, copy: Copy, written: torch.cuda.Event | None) -> None:
        num_pages, error = 0, None
        try:
            if written is not None:
                self._link.wait(written)
            for chunk in self._chunks(copy):
                self._link.copy(chunk)
                num_pages += len(chunk)
                self._pace(len(chunk), copy.ticket)
        except Exception as failure:  # whatever it is, those who wait must hear of it
            log.exception("copy %d %s", copy.ticket, copy.direction)
            error = type(failure).__name__  # it reaches clients, who need not know more
        with self._lock:
            self._under_way.discard(copy.ticket)
            self._cancelled.discard(copy.ticket)
            self._ends.put(CopyEnded(copy.ticket, num_pages, error))

    def _chunks(self, copy: Copy) -> Iterator[tuple[PagePair, ...]]:
        for start in range(0, len(copy.pages), self._chunk_pages):
            if not self._is_wanted(copy.ticket):
                return
            yield copy.pages[start : start + self._chunk_pages]

    def _pace(self, num_pages: int, ticket: Ticket) -> None:
        if self._throttle is not None:
            num_bytes = num_pages * self._link.page_bytes
            self._throttle.pass_on(num_bytes, partial(self._is_wanted, ticket))

    def _is_wanted(self, ticket: Ticket) -> bool:
        return ticket not in self._cancelled


class _HostLink:
    """Both sides are memory of the same processor."""

    def __init__(self, arena: Arena, host: HostArena, direction: Direction) -> None:
        # By numpy, which copies in this thread alone and lets others run Python meanwhile: torch
        # would take a second team of threads beside those that compute.
        self._device = arena.pages.view(torch.uint8).numpy()
        self._host = host.pages.view(torch.uint8).numpy()
        self._is_to_device = direction is Direction.TO_DEVICE
        self.page_bytes = self._host.shape[1]

    def wait(self, written: torch.cuda.Event) -> None:
        """What a processor has written, it sees."""

    def copy(self, pairs: tuple[PagePair, ...]) -> None:
        device, host = self._device, self._host
        for pair in pairs:
            if self._is_to_device:
                np.copyto(device[pair.device], host[pair.host])
            else:
                np.copyto(host[pair.host], device[pair.device])


class _CudaLink:
    """Copies of their own stream, one for each page, so that a copy engine does the work."""

    def __init__(self, arena: Arena, host: HostArena, direction: Direction) -> None:
        self._device = arena.pages
        self._host = host.pages
        self._is_to_device = direction is Direction.TO_DEVICE
        a_stream: Callable[..., torch.cuda.Stream] = torch.cuda.Stream
        an_event: Callable[..., torch.cuda.Event] = torch.cuda.Event
        self._stream = a_stream(arena.flat.device)
        self._copied = an_event(blocking=True)  # waiting for it takes no core
        self.page_bytes = host.pages.shape[1] * host.pages.element_size()

    def wait(self, written: torch.cuda.Event) -> None:
        self._stream.wait_event(written)

    def copy(self, pairs: tuple[PagePair, ...]) -> None:
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            for pair in pairs:
                device, host = self._device[pair.device], self._host[pair.host]
                target, source = (device, host) if self._is_to_device else (host, device)
                target.copy_(source, non_blocking=True)
        self._copied.record(self._stream)
        self._copied.synchronize()
