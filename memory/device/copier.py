"""Moves pages between host and device beside the computation."""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from motet.memory.copy import Copy, CopyEnded, Direction, PagePair, Ticket
from motet.memory.device.arena import Arena
from motet.memory.device.host_arena import HostArena
from motet.memory.device.throttle import Throttle
from motet.memory.device.workers import Workers
from motet.memory.turns import Turns

log = logging.getLogger(__name__)

CHUNK_BYTES = 4 * 1024**2
"""Moved between two looks at whose turn it is; at least a page."""


class Ends(Protocol):
    """Where the ends of copies go, from any thread."""

    def put(self, ended: CopyEnded, /) -> None: ...


class Copier:
    """In each direction, copies one after the other in the order given. Copies ahead make way for
    all others, after the current chunk, and go on later where they stopped."""

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

    def hurry(self, tickets: Iterable[Ticket]) -> None:
        """Copies ahead are waited for: in line as if begun now. Those that are over stay so."""
        for ticket in tickets:
            for lane in self._lanes.values():
                lane.hurry(ticket)

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


@dataclass(slots=True, eq=False)
class _Job:
    """One copy from its beginning to its end."""

    copy: Copy
    written: torch.cuda.Event | None
    """What it comes after; None once it does."""
    num_pages: int = 0
    """Moved."""
    is_cancelled: bool = False

    @property
    def is_over(self) -> bool:
        return self.is_cancelled or self.num_pages == len(self.copy.pages)


class _Lane:
    """The copies of one direction, in a thread of their own.

    The thread has a job to do for each copy under way: to move a chunk of the one whose turn it is.
    """

    def __init__(
        self, direction: Direction, link: _Link, ends: Ends, link_gbps: float | None
    ) -> None:
        self._link = link
        self._ends = ends
        self._throttle = None if link_gbps is None else Throttle(link_gbps)
        self._chunk_pages = max(1, CHUNK_BYTES // link.page_bytes)
        self._worker = Workers(f"motet-{direction.replace('_', '-')}")
        self._turns: Turns[_Job] = Turns()
        self._lock = threading.Lock()  # for them, and so that an end is told before it is over

    def begin(self, copy: Copy, written: torch.cuda.Event | None) -> None:
        with self._lock:
            self._turns.add(copy.ticket, _Job(copy, written), is_ahead=copy.is_ahead)
        self._worker.add(self._go_on)

    def hurry(self, ticket: Ticket) -> None:
        with self._lock:
            self._turns.hurry(ticket)

    def cancel(self, ticket: Ticket) -> bool:
        """False where no such copy is under way. It ends after the current chunk, be that its own
        or of another copy."""
        with self._lock:
            job = self._turns.get(ticket)
            if job is not None:
                job.is_cancelled = True
                self._turns.put_first(ticket)
            return job is not None

    def _go_on(self) -> None:
        with self._lock:
            job = self._turns.first()
        assert job is not None, "there is one for each of these calls"
        error = None
        try:
            if not job.is_over:
                self._move_chunk(job)
        except Exception as failure:  # whatever it is, those who wait must hear of it
            log.exception("copy %d %s", job.copy.ticket, job.copy.direction)
            error = type(failure).__name__  # it reaches clients, who need not know more
        with self._lock:
            if job.is_over or error is not None:
                self._turns.remove(job.copy.ticket)
                self._ends.put(CopyEnded(job.copy.ticket, job.num_pages, error))
            else:
                self._worker.add(self._go_on)

    def _move_chunk(self, job: _Job) -> None:
        if job.written is not None:
            self._link.wait(job.written)
            job.written = None
        chunk = job.copy.pages[job.num_pages : job.num_pages + self._chunk_pages]
        self._link.copy(chunk)
        job.num_pages += len(chunk)
        if self._throttle is not None:
            num_bytes = len(chunk) * self._link.page_bytes
            self._throttle.pass_on(num_bytes, lambda: not job.is_cancelled)


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
