"""Whose turn it is and who is preempted."""

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Ordered
from typing import Protocol

from motet.engine.plan import Row
from motet.engine.request import Request
from motet.engine.sequence import Sequence
from motet.memory.residency import Rank


class SchedulingPolicy(Protocol):
    """Orders requests. Changes none."""

    def rank(self, request: Request, number: int) -> Rank:
        """Its turn: the smaller goes first. Asked once, when the request arrives as the
        `number`-th.

        One order for everything: who is admitted, who goes on in a step that has no room for all,
        for whom memory is made free, and who is never preempted: the first.
        """

    def served(self, rows: Mapping[Sequence, Row]) -> None:
        """These have had a step: for policies that share it out."""

    def victim(self, candidates: Ordered[Sequence]) -> Sequence:
        """Whom to preempt; there is at least one candidate, and the first of all is never one."""


class FirstComeFirstServed:
    """Of equal priority. Preempts whoever loses the least computed work, of equals the last."""

    def rank(self, request: Request, number: int) -> Rank:
        return (request.priority, number)

    def served(self, rows: Mapping[Sequence, Row]) -> None:
        pass

    def victim(self, candidates: Ordered[Sequence]) -> Sequence:
        last_first = sorted(candidates, key=lambda sequence: sequence.rank, reverse=True)
        return min(last_first, key=lambda sequence: sequence.num_computed)


MAX_PROGRAMS = 2**16
"""Remembered; who began first is forgotten, and begins anew."""


class ProgramFirstComeFirstServed(FirstComeFirstServed):
    """Of equal priority, requests of the program that began first go first (Continuum, arXiv
    2511.02230): who has begun ends, instead of all being half done. Of one program the earlier
    step of its world goes first, for which others may wait (AI Metropolis, MLSys 2025). A
    request of no agent is a program of its own."""

    def __init__(self) -> None:
        self._began: dict[tuple[str, str], int] = {}

    def rank(self, request: Request, number: int) -> Rank:
        call = request.agent
        if call is None:
            return (request.priority, number, 0, number)
        program = (call.key.tenant, call.program_id or call.key.agent_id)
        began = self._began.setdefault(program, number)
        if call.is_final and not call.program_id:
            del self._began[program]
        elif len(self._began) > MAX_PROGRAMS:
            del self._began[next(iter(self._began))]
        return (request.priority, began, call.step, number)


SCHEDULING: dict[str, Callable[[], SchedulingPolicy]] = {
    "fcfs": FirstComeFirstServed,
    "program": ProgramFirstComeFirstServed,
}
