"""A line on which work moves: one piece after the other, each with its time and its faults."""

import enum
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from motet.memory.copy import Copy, Read, Ticket

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
    begun_s: float
    fault: Fault | None
    cancelled_s: float | None = None


@dataclass(slots=True)
class VirtualLink:
    """Moves in the order given, on a virtual clock. Only tells: it writes no page."""

    cost: LinkCost = LinkCost()
    faults: dict[Fault, float] = field(default_factory=dict)
    """Probability of each."""
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    num_faults: dict[Fault, int] = field(default_factory=lambda: dict.fromkeys(Fault, 0))
    _jobs: list[_Job] = field(default_factory=list)
    _late: list[tuple[float, Work]] = field(default_factory=list)
    """With the times of their ends, in this order."""
    _free_s: float = 0.0

    def begin(self, work: Work, now: float) -> None:
        fault = self._fault()
        if fault is Fault.LATE:
            self._late.append((now + self.cost.late_s, work))
        else:
            self._jobs.append(_Job(work, now, fault))

    def cancel(self, ticket: Ticket, now: float) -> bool:
        """Stop it after its current page. False if it is over: its end is to be told again."""
        for job in self._jobs:
            if job.work.ticket == ticket:
                job.cancelled_s = now if job.cancelled_s is None else job.cancelled_s
                return True
        return any(work.ticket == ticket for _, work in self._late)

    def ended(self, now: float) -> Iterator[Ended]:
        """What is over by now."""
        while self._late and self._late[0][0] <= now:
            _, work = self._late.pop(0)
            yield Ended(work, len(work.pages), None, 1)
        while self._jobs and self._end_s(self._jobs[0]) <= now:
            job = self._jobs.pop(0)
            start_s, self._free_s = self._start_s(job), self._end_s(job)
            is_lost = job.fault is Fault.LOST and job.cancelled_s is None
            num_told = 0 if is_lost else 2 if job.fault is Fault.DOUBLE else 1
            yield Ended(job.work, *self._outcome(job, start_s), num_told)

    def next_s(self) -> float | None:
        """When the next one is over."""
        times = [self._end_s(self._jobs[0])] if self._jobs else []
        times += [self._late[0][0]] if self._late else []
        return min(times, default=None)

    def _fault(self) -> Fault | None:
        for fault, probability in self.faults.items():
            if self.rng.random() < probability:
                self.num_faults[fault] += 1
                return fault
        return None

    def _start_s(self, job: _Job) -> float:
        return max(self._free_s, job.begun_s)

    def _page_s(self, job: _Job) -> float:
        return self.cost.page_s * (self.cost.slow_factor if job.fault is Fault.SLOW else 1)

    def _end_s(self, job: _Job) -> float:
        start_s = self._start_s(job)
        end_s = start_s + self.cost.latency_s + self._page_s(job) * len(job.work.pages)
        if job.cancelled_s is not None:
            return min(end_s, max(start_s, job.cancelled_s))
        return end_s

    def _outcome(self, job: _Job, start_s: float) -> tuple[int, str | None]:
        """Pages that are complete, and the error."""
        num_pages = len(job.work.pages)
        if job.fault is Fault.FAILED:
            return num_pages // 2, "the link has failed"
        if job.cancelled_s is None or not self.cost.page_s:
            return num_pages, None
        elapsed_s = self._free_s - start_s - self.cost.latency_s
        return max(0, min(num_pages, int(elapsed_s / self._page_s(job)))), None
