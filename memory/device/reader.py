"""Brings adapter directories into pages of the host, beside everything else."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Protocol

from motet.errors import AdapterChanged, ConfigError, MotetError
from motet.memory.adapter import AdapterContent
from motet.memory.copy import Read, ReadEnded, Ticket
from motet.memory.device.host_arena import HostArena
from motet.memory.device.pace import Pace
from motet.memory.device.staging import AdapterStager
from motet.memory.device.tables import AdapterTables
from motet.memory.device.weights import AdapterWeights
from motet.memory.device.workers import Workers

log = logging.getLogger(__name__)

NUM_THREADS = 2
"""One that hangs on a dead disk still leaves another."""

KEPT_ENDS = 1024
"""Ends that can be told again as they were."""


class Ends(Protocol):
    """Where the ends of reads go, from any thread."""

    def put(self, ended: ReadEnded, /) -> None: ...


class Reader:
    """Carries out reads, two at a time, each told once.

    When the end of a read is told, `tables` has those of its digest.
    """

    def __init__(
        self,
        stager: AdapterStager,
        host: HostArena,
        tables: dict[str, AdapterTables],
        ends: Ends,
        check: Callable[[str], None],
        pace: Pace,
    ) -> None:
        """`check` is called once for a directory that nobody has read before. It raises
        AdapterError where something else in it cannot be served."""
        self._stager = stager
        self._host = host
        self._tables = tables
        self._ends = ends
        self._check = check
        self._pace = pace
        self._workers = Workers("motet-reader", NUM_THREADS)
        self._under_way: set[Ticket] = set()
        self._cancelled: set[Ticket] = set()
        self._told: OrderedDict[Ticket, ReadEnded] = OrderedDict()
        self._lock = threading.Lock()  # for the three, and so that an end is told before it is over

    def begin(self, read: Read) -> None:
        with self._lock:
            self._under_way.add(read.ticket)
        self._workers.add(partial(self._run, read))

    def cancel(self, ticket: Ticket) -> bool:
        """Stop as soon as possible. The end of a read that is over is told again.

        False where no such read is known.
        """
        with self._lock:
            if ticket in self._under_way:
                self._cancelled.add(ticket)
                return True
            if ticket in self._told:
                self._ends.put(self._told[ticket])
                return True
            return False

    def _run(self, read: Read) -> None:
        try:
            ended = ReadEnded(read.ticket, self._content(read))
        except _Cancelled:
            ended = ReadEnded(read.ticket, None)
        except ConfigError as error:
            ended = ReadEnded(read.ticket, None, str(error), type(error).__name__)
        except Exception as failure:  # whatever it is, those who wait must hear of it
            log.exception("reading adapter '%s'", read.path)
            # It reaches clients, who need not know more.
            ended = ReadEnded(read.ticket, None, type(failure).__name__, MotetError.__name__)
        with self._lock:
            self._under_way.discard(read.ticket)
            self._cancelled.discard(read.ticket)
            self._told[read.ticket] = ended
            if len(self._told) > KEPT_ENDS:
                self._told.popitem(last=False)
            self._ends.put(ended)

    def _content(self, read: Read) -> AdapterContent:
        self._pace.begin()
        between = partial(self._between, read)
        between()
        if not read.pages:
            return self._header(read.path)
        weights = self._stager.read(read.path, between)
        digest = self._stager.digest(weights, between)
        self._must_be_unchanged(read, weights, digest)
        pages = [self._host.pages[page] for page in read.pages]
        self._tables[digest] = self._stager.stage(weights, pages, between)
        return AdapterContent(weights.max_rank, len(pages), digest)

    def _header(self, directory: str) -> AdapterContent:
        self._check(directory)
        weights = self._stager.header(directory)
        for warning in weights.training.warnings:
            log.warning("adapter '%s': %s", directory, warning)
        return AdapterContent(weights.max_rank, self._stager.num_pages(weights), None)

    def _must_be_unchanged(self, read: Read, weights: AdapterWeights, digest: str) -> None:
        num_pages = self._stager.num_pages(weights)
        remedy = "load it again in place to serve what it is now"
        if len(read.pages) != num_pages:
            raise AdapterChanged(
                f"adapter '{read.path}' takes {num_pages} pages, it took {len(read.pages)} when it "
                f"was first read: {remedy}"
            )
        if read.digest not in (None, digest):
            raise AdapterChanged(
                f"adapter '{read.path}' is not what it was when it was first read: {remedy}"
            )

    def _between(self, read: Read) -> None:
        """Two pieces of a read. Raises _Cancelled."""
        self._pace.rest()
        if read.ticket in self._cancelled:
            raise _Cancelled


class _Cancelled(Exception):
    """Nobody wants the read any more."""
