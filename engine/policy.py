"""Who is admitted next and who is preempted."""

from collections.abc import Callable, Iterable
from collections.abc import Sequence as Ordered
from typing import Protocol

from motet.engine.sequence import Sequence


class SchedulingPolicy(Protocol):
    """Orders sequences. Changes nothing."""

    def admission_order(self, waiting: Ordered[Sequence]) -> Iterable[Sequence]:
        """Whom to try next, from those waiting (oldest first). The first that does not fit ends
        the admissions of this step."""

    def victim(self, candidates: Ordered[Sequence]) -> Sequence:
        """Whom to preempt; there is at least one candidate, and the oldest request is never one."""


class FirstComeFirstServed:
    """Oldest first; preempts whoever loses the least computed work."""

    def admission_order(self, waiting: Ordered[Sequence]) -> Iterable[Sequence]:
        return waiting

    def victim(self, candidates: Ordered[Sequence]) -> Sequence:
        return min(candidates, key=lambda sequence: (sequence.num_computed, -sequence.arrival))


SCHEDULING: dict[str, Callable[[], SchedulingPolicy]] = {"fcfs": FirstComeFirstServed}
