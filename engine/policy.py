"""Whose turn it is and who is preempted."""

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Ordered
from typing import Protocol

from motet.engine.plan import Row
from motet.engine.request import Request
from motet.engine.sequence import Sequence


class SchedulingPolicy(Protocol):
    """Orders requests. Changes none."""

    def rank(self, request: Request) -> float:
        """The smaller goes first, of equals the elder. Asked once, when the request arrives.

        One order for everything: who is admitted, who goes on in a step that has no room for all,
        for whom memory is made free, and who is never preempted: the first.
        """

    def served(self, rows: Mapping[Sequence, Row]) -> None:
        """These have had a step: for policies that share it out."""

    def victim(self, candidates: Ordered[Sequence]) -> Sequence:
        """Whom to preempt; there is at least one candidate, and the first of all is never one."""


class FirstComeFirstServed:
    """Of equal priority. Preempts whoever loses the least computed work, of equals the last."""

    def rank(self, request: Request) -> float:
        return request.priority

    def served(self, rows: Mapping[Sequence, Row]) -> None:
        pass

    def victim(self, candidates: Ordered[Sequence]) -> Sequence:
        last_first = sorted(candidates, key=lambda sequence: sequence.rank, reverse=True)
        return min(last_first, key=lambda sequence: sequence.num_computed)


SCHEDULING: dict[str, Callable[[], SchedulingPolicy]] = {"fcfs": FirstComeFirstServed}
