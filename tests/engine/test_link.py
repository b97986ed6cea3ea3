"""The virtual link takes the time it says, and goes wrong as it says."""

import random

import pytest

from motet.engine.fake.lines import Lines
from motet.engine.fake.link import Fault, LinkCost, VirtualLink
from motet.engine.inbox import Inbox
from motet.memory.copy import Copy, CopyEnded, Direction, PagePair, Ticket, Transfers
from motet.memory.page import PageId
from tests.engine.factories import a_scheduler, an_executor

COST = LinkCost(latency_s=1.0, page_s=0.5, slow_factor=10.0, late_s=100.0)


def a_copy(ticket: int = 1, num_pages: int = 4) -> Copy:
    pages = tuple(PagePair(PageId(page), PageId(page)) for page in range(num_pages))
    return Copy(Ticket(ticket), Direction.TO_DEVICE, pages)


def a_link(fault: Fault | None = None) -> VirtualLink:
    return VirtualLink(COST, {fault: 1.0} if fault else {}, random.Random(0))


def told(link: VirtualLink, now: float) -> list[CopyEnded]:
    ends = [ended for ended in link.ended(now) for _ in range(ended.num_told)]
    return [CopyEnded(ended.work.ticket, ended.num_pages, ended.error) for ended in ends]


def test_copies_come_one_after_the_other() -> None:
    link = a_link()
    link.begin(a_copy(1), 0.0)
    link.begin(a_copy(2), 1.0)
    assert link.next_s() == 3.0
    assert told(link, 2.9) == []
    assert told(link, 3.0) == [CopyEnded(Ticket(1), 4)]
    assert link.next_s() == 6.0
    assert told(link, 10.0) == [CopyEnded(Ticket(2), 4)]
    assert link.next_s() is None


@pytest.mark.parametrize(
    ("fault", "end_s", "expected"),
    [
        (None, 3.0, [(4, None)]),
        (Fault.SLOW, 21.0, [(4, None)]),
        (Fault.FAILED, 3.0, [(2, "the link has failed")]),
        (Fault.LOST, 3.0, []),
        (Fault.LATE, 100.0, [(4, None)]),
        (Fault.DOUBLE, 3.0, [(4, None), (4, None)]),
    ],
)
def test_each_fault(fault: Fault | None, end_s: float, expected: list[tuple[int, str]]) -> None:
    link = a_link(fault)
    link.begin(a_copy(), 0.0)
    assert link.next_s() == end_s
    assert [(end.num_pages, end.error) for end in told(link, end_s)] == expected
    assert sum(link.num_faults.values()) == (fault is not None)


@pytest.mark.parametrize(("cancelled_s", "num_pages"), [(0.0, 0), (1.9, 1), (2.6, 3), (5.0, 4)])
def test_a_cancelled_copy_ends_with_the_pages_it_has(cancelled_s: float, num_pages: int) -> None:
    link = a_link()
    link.begin(a_copy(), 0.0)
    told(link, min(cancelled_s, 2.9))
    assert link.cancel(Ticket(1), cancelled_s)
    assert told(link, 5.0) == [CopyEnded(Ticket(1), num_pages)]


def test_the_end_of_a_lost_copy_is_told_when_it_is_asked_for() -> None:
    inbox = Inbox()
    executor = an_executor(a_scheduler(), inbox, Lines(to_device=a_link(Fault.LOST)))
    executor.begin(Transfers(copies=(a_copy(),)))
    executor.clock.now = 30.0
    executor.end_copies()
    assert inbox.take(0) == []
    executor.begin(Transfers(cancelled=(Ticket(1),)))
    assert inbox.take(0) == [CopyEnded(Ticket(1), 4)]


def test_a_late_copy_cannot_be_stopped_and_holds_up_nobody() -> None:
    link = a_link(Fault.LATE)
    link.begin(a_copy(1), 0.0)
    link.faults = {}
    link.begin(a_copy(2), 0.0)
    assert link.cancel(Ticket(1), 30.0)
    assert told(link, 30.0) == [CopyEnded(Ticket(2), 4)]
    assert told(link, 100.0) == [CopyEnded(Ticket(1), 4)]


def test_a_copy_that_nobody_began_has_ended() -> None:
    inbox = Inbox()
    an_executor(a_scheduler(), inbox).begin(Transfers(cancelled=(Ticket(7),)))
    assert inbox.take(0) == [CopyEnded(Ticket(7), 0)]
