"""Copies that pass others on the way change no token."""

import random

from msgspec.structs import replace

from motet.engine.fake.executor import FakeExecutor
from motet.engine.fake.lines import Lines
from motet.engine.fake.link import LinkCost, VirtualLink
from motet.engine.inbox import Inbox
from motet.engine.scheduler import Scheduler
from motet.memory.copy import Copy, CopyEnded, Direction, PagePair, Ticket, Transfers
from motet.memory.page import PageId
from tests.engine.factories import a_scheduler, an_executor
from tests.engine.oracle import run_storm


def a_copy(ticket: int, num_pages: int) -> Copy:
    pages = tuple(PagePair(PageId(page), PageId(page)) for page in range(num_pages))
    return Copy(Ticket(ticket), Direction.TO_DEVICE, pages, is_ahead=True)


def test_what_is_hurried_in_the_step_it_begins_in_is_passed_no_more() -> None:
    inbox = Inbox()
    lines = Lines(to_device=VirtualLink(LinkCost(page_s=1.0)))
    executor = an_executor(a_scheduler(), inbox, lines)
    copies = (a_copy(1, 3), a_copy(2, 2), replace(a_copy(3, 2), is_ahead=False))
    executor.begin(Transfers(copies=copies, hurried=(Ticket(2),)))
    executor.clock.now = 10.0
    executor.end_copies()
    assert inbox.take(0) == [
        CopyEnded(Ticket(ticket), num_pages) for ticket, num_pages in ((3, 2), (2, 2), (1, 3))
    ]


def with_copies_ahead(scheduler: Scheduler, executor: FakeExecutor, rng: random.Random) -> None:
    """Half of all copies are ahead, until they are hurried."""
    begin = executor.begin
    ahead: set[Ticket] = set()

    def begin_ahead(transfers: Transfers) -> None:
        copies = tuple(replace(copy, is_ahead=rng.random() < 0.5) for copy in transfers.copies)
        ahead.update(copy.ticket for copy in copies if copy.is_ahead)
        hurried = tuple(ticket for ticket in sorted(ahead) if rng.random() < 0.2)
        ahead.difference_update(hurried)
        begin(replace(transfers, copies=copies, hurried=hurried))

    executor.begin = begin_ahead  # type: ignore[method-assign]


def test_no_token_changes_in_a_storm_of_copies_that_pass_others() -> None:
    oracle, storm = run_storm(11, num_tokens=10_000, sabotage=with_copies_ahead)
    assert oracle.num_wrong == 0 and oracle.num_right >= 10_000
    assert storm.forced["KV restored"] > 0
