"""Whose turn it is on a line."""

from collections import OrderedDict
from typing import Generic, TypeVar

from motet.memory.copy import Ticket

JobT = TypeVar("JobT")


class Turns(Generic[JobT]):
    """Jobs from their beginning to their end: first those that somebody waits for, then those
    ahead, each in the order given."""

    def __init__(self) -> None:
        self._urgent: OrderedDict[Ticket, JobT] = OrderedDict()
        self._ahead: OrderedDict[Ticket, JobT] = OrderedDict()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._ahead)

    def add(self, ticket: Ticket, job: JobT, *, is_ahead: bool) -> None:
        """Last among its kind."""
        (self._ahead if is_ahead else self._urgent)[ticket] = job

    def first(self) -> JobT | None:
        jobs = self._urgent or self._ahead
        return next(iter(jobs.values()), None)

    def get(self, ticket: Ticket) -> JobT | None:
        return (self._urgent if ticket in self._urgent else self._ahead).get(ticket)

    def hurry(self, ticket: Ticket) -> None:
        """One ahead is waited for: last among these. Of all others nothing changes."""
        if ticket in self._ahead:
            self._urgent[ticket] = self._ahead.pop(ticket)

    def put_first(self, ticket: Ticket) -> None:
        """Before all others. It must be there."""
        self.hurry(ticket)
        self._urgent.move_to_end(ticket, last=False)

    def remove(self, ticket: Ticket) -> None:
        """It must be there."""
        del (self._urgent if ticket in self._urgent else self._ahead)[ticket]
