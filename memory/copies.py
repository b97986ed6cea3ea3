"""Which copies are under way, what each holds, and which end belongs to which."""

from collections.abc import Iterator
from dataclasses import dataclass

from motet.memory.copy import Copy, CopyEnded, Direction, PagePair, Ticket
from motet.memory.page import Lease
from motet.memory.residency import StateObject

PATIENCE_S = 30.0
"""A copy that has not ended by then counts as lost: far more than the slowest link needs."""


@dataclass(slots=True, eq=False)
class CopyUnderWay:
    """One copy from its beginning to its end.

    `lease` holds its pages on the device. They belong to `subject` until the copy is given up, and
    to nobody from then on: not even a copy that is lost may write to pages of others.
    """

    copy: Copy
    subject: StateObject
    lease: Lease
    due_s: float
    """When its end is asked for."""
    is_given_up: bool = False


@dataclass(slots=True)
class CopyCounters:
    """Only grow."""

    begun: int = 0
    failed: int = 0
    cancelled: int = 0
    lost: int = 0
    """Given up because their end did not come in time; some of these ends come late."""
    strays: int = 0
    """Ends of copies that had ended before."""


class Copies:
    """The copies of one link. Says what the executor is to begin and to stop; waits for nothing."""

    def __init__(self) -> None:
        self.counters = CopyCounters()
        self.now = 0.0
        """Seconds on the engine's clock, as far as it has been told."""
        self._under_way: dict[Ticket, CopyUnderWay] = {}
        self._last_ticket = 0
        self._begun: list[Copy] = []
        self._cancelled: list[Ticket] = []

    def __len__(self) -> int:
        return len(self._under_way)

    def __iter__(self) -> Iterator[CopyUnderWay]:
        """The eldest first."""
        return iter(self._under_way.values())

    def load(self, subject: StateObject, digest: str, lease: Lease) -> None:
        """Begin to fill the pages of `lease` with the host image `digest`."""
        self._last_ticket += 1
        pages = tuple(PagePair(host, device) for host, device in enumerate(lease.pages))
        copy = Copy(Ticket(self._last_ticket), Direction.TO_DEVICE, digest, pages)
        due_s = self.now + PATIENCE_S
        self._under_way[copy.ticket] = CopyUnderWay(copy, subject, lease, due_s)
        self._begun.append(copy)
        self.counters.begun += 1

    def of(self, subject: StateObject) -> CopyUnderWay:
        """The copy that the object waits for."""
        return next(copy for copy in self if copy.subject is subject and not copy.is_given_up)

    def give_up(self, under_way: CopyUnderWay) -> None:
        """Nobody waits for it any more. Its pages stay taken until it has ended."""
        under_way.is_given_up = True
        self.counters.cancelled += 1
        self.ask(under_way)

    def ask(self, under_way: CopyUnderWay) -> None:
        """Have it stopped, or at least its end told again."""
        self._cancelled.append(under_way.copy.ticket)
        under_way.due_s = self.now + PATIENCE_S

    def end(self, event: CopyEnded) -> CopyUnderWay | None:
        """The copy that has ended; None if it had ended before."""
        under_way = self._under_way.pop(event.ticket, None)
        if under_way is None:
            self.counters.strays += 1
        return under_way

    def overdue(self) -> list[CopyUnderWay]:
        """Copies whose end should have come."""
        return [copy for copy in self if copy.due_s <= self.now]

    @property
    def next_due_s(self) -> float | None:
        """When to look for overdue ones again; None while nothing is under way."""
        return min((copy.due_s for copy in self), default=None)

    def take(self) -> tuple[tuple[Copy, ...], tuple[Ticket, ...]]:
        """To begin and to stop, since the last call."""
        begun, cancelled = tuple(self._begun), tuple(self._cancelled)
        self._begun, self._cancelled = [], []
        return begun, cancelled
