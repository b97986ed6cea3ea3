"""A link between host and device: one copy after the other, each with its time and its faults."""

import enum
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from motet.memory.copy import Copy, CopyEnded, Ticket


class Fault(enum.StrEnum):
    """What may go wrong with a copy."""

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
    """What a copy takes, in seconds."""

    latency_s: float = 0.0
    page_s: float = 0.0
    slow_factor: float = 50.0
    late_s: float = 100.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A copy is over: its pages are written, and perhaps nobody is told."""

    copy: Copy
    event: CopyEnded
    num_told: int


@dataclass(slots=True)
class _Job:
    copy: Copy
    begun_s: float
    fault: Fault | None
    cancelled_s: float | None = None


@dataclass(slots=True)
class VirtualLink:
    """Moves copies in the order given, on a virtual clock. Only tells: it writes no page."""

    cost: LinkCost = LinkCost()
    faults: dict[Fault, float] = field(default_factory=dict)
    """Probability of each."""
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    num_faults: dict[Fault, int] = field(default_factory=lambda: dict.fromkeys(Fault, 0))
    _jobs: list[_Job] = field(default_factory=list)
    _late: list[tuple[float, Copy]] = field(default_factory=list)
    """With the times of their ends, in this order."""
    _free_s: float = 0.0
    _ended: dict[Ticket, CopyEnded] = field(default_factory=dict)

    def begin(self, copy: Copy, now: float) -> None:
        fault = self._fault()
        if fault is Fault.LATE:
            self._late.append((now + self.cost.late_s, copy))
        else:
            self._jobs.append(_Job(copy, now, fault))

    def cancel(self, ticket: Ticket, now: float) -> CopyEnded | None:
        """Stop a copy after its current page. The end of one that is over is told again."""
        for job in self._jobs:
            if job.copy.ticket == ticket:
                job.cancelled_s = now if job.cancelled_s is None else job.cancelled_s
                return None
        if any(copy.ticket == ticket for _, copy in self._late):
            return None
        return self._ended.get(ticket, CopyEnded(ticket, 0))

    def ended(self, now: float) -> Iterator[Ended]:
        """Copies that are over by now."""
        while self._late and self._late[0][0] <= now:
            _, copy = self._late.pop(0)
            event = self._ended[copy.ticket] = CopyEnded(copy.ticket, len(copy.pages))
            yield Ended(copy, event, 1)
        while self._jobs and self._end_s(self._jobs[0]) <= now:
            job = self._jobs.pop(0)
            start_s, self._free_s = self._start_s(job), self._end_s(job)
            event = CopyEnded(job.copy.ticket, *self._outcome(job, start_s))
            self._ended[job.copy.ticket] = event
            is_lost = job.fault is Fault.LOST and job.cancelled_s is None
            yield Ended(job.copy, event, 0 if is_lost else 2 if job.fault is Fault.DOUBLE else 1)

    def next_s(self) -> float | None:
        """When the next copy is over."""
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
        end_s = start_s + self.cost.latency_s + self._page_s(job) * len(job.copy.pages)
        if job.cancelled_s is not None:
            return min(end_s, max(start_s, job.cancelled_s))
        return end_s

    def _outcome(self, job: _Job, start_s: float) -> tuple[int, str | None]:
        """Pages that are complete, and the error."""
        num_pages = len(job.copy.pages)
        if job.fault is Fault.FAILED:
            return num_pages // 2, "the link has failed"
        if job.cancelled_s is None or not self.cost.page_s:
            return num_pages, None
        elapsed_s = self._free_s - start_s - self.cost.latency_s
        return max(0, min(num_pages, int(elapsed_s / self._page_s(job)))), None
