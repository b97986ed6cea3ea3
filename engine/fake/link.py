"""A line on which work moves: one piece after the other, each with its time and its faults."""

import enum
import math
import random
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from motet.memory.copy import Copy, Read, Ticket
from motet.memory.turns import Turns

Work = Copy | Read


class Fault(enum.StrEnum):
    """What may go wrong with a copy or read."""

    SLOW = "slow"
    """It takes many times as long."""
    FAILED = "failed"
    """It breaks off, with an error."""
    LOST = "lost"
    """It is done, but its end is told only when somebody asks for it."""
    LATE = "late"
    """It hangs, cannot be stopped, and ends when nobody waits any more. Others pass it."""
    DOUBLE = "double"
    """Its end is told twice."""


@dataclass(frozen=True, slots=True)
class LinkCost:
    """What a piece of work takes, in seconds."""

    latency_s: float = 0.0
    page_s: float = 0.0
    slow_factor: float = 50.0
    late_s: float = 100.0
    chunk_pages: int = 1
    """Moved between two looks at whose turn it is. The latency belongs to the first chunk."""


@dataclass(frozen=True, slots=True)
class Ended:
    """It is over: these of its pages are moved, and perhaps nobody is told."""

    work: Work
    num_pages: int
    error: str | None
    num_told: int


@dataclass(slots=True)
class _Job:
    work: Work
    fault: Fault | None
    latency_s: float
    """Of its next turn."""
    page_s: float
    num_pages: int = 0
    """Moved, in turns that are over."""
    end_s: float = 0.0
    """When it was over."""
    is_cancelled: bool = False

    @property
    def num_left(self) -> int:
        return len(self.work.pages) - self.num_pages

    @property
    def left_s(self) -> float:
        return self.latency_s + self.page_s * self.num_left


@dataclass(slots=True)
class _Turn:
    """What the line does from `start_s` to `end_s`."""

    job: _Job
    start_s: float
    end_s: float
    num_pages: int
    """Moved in it."""
    is_last: bool
    """The job is over then."""

    @classmethod
    def whole(cls, job: _Job, start_s: float) -> "_Turn":
        return cls(job, start_s, start_s + job.left_s, job.num_left, is_last=True)


@dataclass(slots=True)
class VirtualLink:
    """Moves on a virtual clock: in the order given, but copies ahead make way for all others. Only
    tells: it writes no page. Times never go back."""

    cost: LinkCost = LinkCost()
    faults: dict[Fault, float] = field(default_factory=dict)
    """Probability of each."""
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    num_faults: dict[Fault, int] = field(default_factory=lambda: dict.fromkeys(Fault, 0))
    busy_s: float = 0.0
    """In which it has moved something, up to the last change of turn."""
    _turns: Turns[_Job] = field(default_factory=Turns)
    _turn: _Turn | None = None
    """Of the first of them, or of one that makes way for it; None while there are none."""
    _free_s: float = 0.0
    """When the last turn ended."""
    _over: dict[Ticket, _Job] = field(default_factory=dict)
    """Nobody has been told; in the order of their ends."""
    _late: OrderedDict[Ticket, tuple[float, Work]] = field(default_factory=OrderedDict)
    """With the times of their ends, in this order."""

    def begin(self, work: Work, now: float) -> None:
        fault = self._fault()
        if fault is Fault.LATE:
            self._late[work.ticket] = (now + self.cost.late_s, work)
            return
        self._go_on(now)
        page_s = self.cost.page_s * (self.cost.slow_factor if fault is Fault.SLOW else 1)
        job = _Job(work, fault, self.cost.latency_s, page_s)
        is_ahead = isinstance(work, Copy) and work.is_ahead
        self._turns.add(work.ticket, job, is_ahead=is_ahead)
        self._change_turn(now)

    def hurry(self, ticket: Ticket, now: float) -> None:
        """A copy ahead is waited for: in line as if begun now. All others stay as they are."""
        self._go_on(now)
        self._turns.hurry(ticket)
        self._change_turn(now)

    def cancel(self, ticket: Ticket, now: float) -> bool:
        """Stop it, with the chunks that are complete. False if it is over and has been told of: its
        end is to be told again."""
        self._go_on(now)
        job = self._turns.get(ticket) or self._over.get(ticket)
        if job is None:
            return ticket in self._late
        job.is_cancelled = True
        if ticket not in self._over:
            if self._turn is not None and self._turn.job is job:
                self._end_turn(self._broken_off(self._turn, now))
            self._end_job(job, now)
            self._change_turn(now)
        return True

    def ended(self, now: float) -> Iterator[Ended]:
        """What is over by now."""
        while self._late and (late := next(iter(self._late.values())))[0] <= now:
            _, work = late
            del self._late[work.ticket]
            yield Ended(work, len(work.pages), None, 1)
        self._go_on(now)
        over, self._over = self._over, {}
        for job in over.values():
            is_lost = job.fault is Fault.LOST and not job.is_cancelled
            num_told = 0 if is_lost else 2 if job.fault is Fault.DOUBLE else 1
            yield Ended(job.work, *_outcome(job), num_told)

    def next_s(self) -> float | None:
        """When the next one is over."""
        times = [job.end_s for job in self._over.values()][:1]
        times += [end_s for end_s, _ in self._late.values()][:1]
        if self._turn is not None:
            next_job = None if self._turn.is_last else self._turns.first()
            times.append(self._turn.end_s + (next_job.left_s if next_job else 0.0))
        return min(times, default=None)

    def _fault(self) -> Fault | None:
        for fault, probability in self.faults.items():
            if self.rng.random() < probability:
                self.num_faults[fault] += 1
                return fault
        return None

    def _go_on(self, now: float) -> None:
        """All turns that are over by now."""
        while (turn := self._turn) is not None and turn.end_s <= now:
            self._end_turn(turn)
            if turn.is_last:
                self._end_job(turn.job, turn.end_s)
            self._change_turn(turn.end_s)

    def _change_turn(self, now: float) -> None:
        """It is another one's, or may be, from now on."""
        first, turn = self._turns.first(), self._turn
        if first is None:
            assert turn is None
        elif turn is None:
            self._turn = _Turn.whole(first, max(self._free_s, now))
        elif turn.job is first:
            self._turn = _Turn.whole(first, turn.start_s)
        else:
            self._turn = self._making_way(turn, now)

    def _making_way(self, turn: _Turn, now: float) -> _Turn:
        """The turn ends with the chunk that is under way."""
        job, start_s = turn.job, turn.start_s
        if now <= start_s:
            return _Turn(job, start_s, start_s, 0, is_last=False)
        chunk_s = job.page_s * self.cost.chunk_pages
        moving_s = now - start_s - job.latency_s
        num_chunks = max(1, math.ceil(moving_s / chunk_s)) if chunk_s else 1
        num_pages = num_chunks * self.cost.chunk_pages
        if num_pages >= job.num_left:
            return _Turn.whole(job, start_s)
        end_s = start_s + job.latency_s + job.page_s * num_pages
        return _Turn(job, start_s, end_s, num_pages, is_last=False)

    def _broken_off(self, turn: _Turn, now: float) -> _Turn:
        """The turn ends now, with the chunks that are complete."""
        job, chunk_pages = turn.job, self.cost.chunk_pages
        moving_s = now - turn.start_s - job.latency_s
        num_pages = int(moving_s / job.page_s) if moving_s > 0 and job.page_s else 0
        num_pages = min(num_pages // chunk_pages * chunk_pages, job.num_left)
        return _Turn(job, turn.start_s, now, num_pages, is_last=True)

    def _end_turn(self, turn: _Turn) -> None:
        self._turn, self._free_s = None, turn.end_s
        self.busy_s += turn.end_s - turn.start_s
        turn.job.num_pages += turn.num_pages
        if turn.num_pages:
            turn.job.latency_s = 0.0

    def _end_job(self, job: _Job, end_s: float) -> None:
        job.end_s = end_s
        self._turns.remove(job.work.ticket)
        self._over[job.work.ticket] = job


def _outcome(job: _Job) -> tuple[int, str | None]:
    """Pages that are complete, and the error."""
    if job.fault is Fault.FAILED:
        return min(job.num_pages, len(job.work.pages) // 2), "the link has failed"
    return job.num_pages, None
