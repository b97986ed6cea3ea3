"""Which copies and reads are under way, what each holds, and which end belongs to which."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from motet.memory.copy import Copy, Direction, PagePair, Read, Ticket
from motet.memory.page import Lease, PageId
from motet.memory.residency import StateObject
from motet.memory.room import Room

PATIENCE_S = 30.0
"""One whose turn it is and that has not ended by then counts as lost: far more than the slowest
link needs."""

Line = Direction | None
"""What moves one after the other: copies of one direction, or reads (None)."""


@dataclass(slots=True, eq=False)
class UnderWay:
    """One copy or read from its beginning to its end.

    `leases` hold the pages that it fills, in `room`. They belong to `subjects` until it is given
    up, and to nobody from then on: not even a copy that is lost may write to pages of others.
    """

    work: Copy | Read
    subjects: tuple[StateObject, ...]
    room: Room
    leases: tuple[Lease, ...]
    begun_s: float
    due_s: float
    """When its end is asked for."""
    is_ahead: bool = False
    """Nobody waits for it yet."""
    is_given_up: bool = False

    @property
    def line(self) -> Line:
        return self.work.direction if isinstance(self.work, Copy) else None

    @property
    def num_pages(self) -> int:
        """Of what is moved."""
        return sum(subject.size for subject in self.subjects)


@dataclass(slots=True)
class CopyCounters:
    """Only grow."""

    begun: dict[Line, int] = field(default_factory=lambda: dict.fromkeys((*Direction, None), 0))
    failed: int = 0
    cancelled: int = 0
    lost: int = 0
    """Given up because their end did not come in time; some of these ends come late."""
    strays: int = 0
    """Ends of copies that had ended before."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What the executor is to begin, to hurry and to stop: as in `Transfers`."""

    copies: tuple[Copy, ...]
    reads: tuple[Read, ...]
    hurried: tuple[Ticket, ...]
    cancelled: tuple[Ticket, ...]


class Copies:
    """The ledger. Says what the executor is to begin and to stop; waits for nothing."""

    def __init__(self) -> None:
        self.counters = CopyCounters()
        self.now = 0.0
        """Seconds on the engine's clock, as far as it has been told."""
        self._under_way: dict[Ticket, UnderWay] = {}
        self._last_ticket = 0
        self._copies: list[Copy] = []
        self._reads: list[Read] = []
        self._hurried: list[Ticket] = []
        self._cancelled: list[Ticket] = []

    def __len__(self) -> int:
        return len(self._under_way)

    def __iter__(self) -> Iterator[UnderWay]:
        """The eldest first."""
        return iter(self._under_way.values())

    def num_in(self, line: Line) -> int:
        """Those that are waited for."""
        return sum(1 for _ in self._waited_for(line))

    def num_pages_in(self, line: Line) -> int:
        """Their pages."""
        return sum(each.num_pages for each in self._waited_for(line))

    @property
    def num_pages_ahead(self) -> int:
        """On their way to the device, though nobody waits for them yet."""
        ahead = (each for each in self if each.is_ahead and not each.is_given_up)
        return sum(each.num_pages for each in ahead if each.line is Direction.TO_DEVICE)

    def copy(
        self,
        direction: Direction,
        subjects: Sequence[StateObject],
        room: Room,
        leases: Sequence[Lease],
        pages: Sequence[PagePair],
        *,
        is_ahead: bool = False,
    ) -> None:
        """Begin to copy the pages of `subjects`, one after the other, into `leases` of `room`.

        One ahead makes way for all others of its line, until somebody waits for it (`hurry`).
        """
        copy = Copy(self._ticket(), direction, tuple(pages), is_ahead)
        self._copies.append(copy)
        self._add(copy, subjects, room, leases)

    def read(
        self,
        subject: StateObject,
        room: Room,
        lease: Lease | None,
        path: str,
        digest: str | None,
    ) -> None:
        """Begin to read an adapter into `lease` of `room`; without one, only its header."""
        pages: tuple[PageId, ...] = lease.pages if lease else ()
        read = Read(self._ticket(), path, pages, digest)
        self._reads.append(read)
        self._add(read, (subject,), room, (lease,) if lease else ())

    def of(self, subject: StateObject) -> UnderWay:
        """What brings the object to where it is waited for."""
        return next(each for each in self if subject in each.subjects and not each.is_given_up)

    def hurry(self, under_way: UnderWay) -> None:
        """Somebody waits for it now. Nothing changes where somebody has before."""
        assert not under_way.is_given_up
        if under_way.is_ahead:
            under_way.is_ahead = False
            under_way.due_s = self.now + PATIENCE_S
            self._hurried.append(under_way.work.ticket)

    def give_up(self, under_way: UnderWay) -> None:
        """Nobody waits for it any more. Its pages stay taken until it has ended."""
        under_way.is_given_up = True
        self.counters.cancelled += 1
        self.ask(under_way)

    def ask(self, under_way: UnderWay) -> None:
        """Have it stopped, or at least its end told again."""
        self._cancelled.append(under_way.work.ticket)
        under_way.due_s = self.now + PATIENCE_S

    def end(self, ticket: Ticket) -> UnderWay | None:
        """What has ended; None if it had ended before."""
        ended = self._under_way.pop(ticket, None)
        if ended is None:
            self.counters.strays += 1
            return None
        for each in self:  # those behind it in line come only now to their turn
            if each.line == ended.line:
                each.due_s = self.now + PATIENCE_S
        return ended

    def overdue(self) -> list[UnderWay]:
        """Those whose end should have come."""
        return [each for each in self if each.due_s <= self.now]

    @property
    def next_due_s(self) -> float | None:
        """When to look for overdue ones again; None while nothing is under way."""
        return min((each.due_s for each in self), default=None)

    def take(self) -> Orders:
        """Since the last call."""
        orders = Orders(
            copies=tuple(self._copies),
            reads=tuple(self._reads),
            hurried=tuple(self._hurried),
            cancelled=tuple(self._cancelled),
        )
        self._copies, self._reads, self._hurried, self._cancelled = [], [], [], []
        return orders

    def _waited_for(self, line: Line) -> Iterator[UnderWay]:
        waited = (each for each in self if not each.is_ahead and not each.is_given_up)
        return (each for each in waited if each.line == line)

    def _ticket(self) -> Ticket:
        self._last_ticket += 1
        return Ticket(self._last_ticket)

    def _add(
        self,
        work: Copy | Read,
        subjects: Sequence[StateObject],
        room: Room,
        leases: Sequence[Lease],
    ) -> None:
        due_s = self.now + PATIENCE_S
        is_ahead = isinstance(work, Copy) and work.is_ahead
        under_way = UnderWay(work, tuple(subjects), room, tuple(leases), self.now, due_s, is_ahead)
        self._under_way[work.ticket] = under_way
        self.counters.begun[under_way.line] += 1
