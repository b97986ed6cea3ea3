"""The virtual link takes the time it says, and goes wrong as it says."""

import math
import random
from dataclasses import dataclass, replace

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from motet.engine.fake.lines import Lines
from motet.engine.fake.link import Fault, LinkCost, VirtualLink
from motet.engine.inbox import Inbox
from motet.memory.copy import Copy, CopyEnded, Direction, PagePair, Ticket, Transfers
from motet.memory.page import PageId
from tests.engine.factories import a_scheduler, an_executor

COST = LinkCost(latency_s=1.0, page_s=0.5, slow_factor=10.0, late_s=100.0)


def a_copy(ticket: int = 1, num_pages: int = 4, *, is_ahead: bool = False) -> Copy:
    pages = tuple(PagePair(PageId(page), PageId(page)) for page in range(num_pages))
    return Copy(Ticket(ticket), Direction.TO_DEVICE, pages, is_ahead)


def a_link(fault: Fault | None = None, cost: LinkCost = COST) -> VirtualLink:
    return VirtualLink(cost, {fault: 1.0} if fault else {}, random.Random(0))


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


# Copies ahead. A page takes 0.5 s, after 1 s.


def ends(link: VirtualLink, until_s: float = math.inf) -> list[tuple[int, float, int]]:
    """In their order: ticket, time, pages."""
    found: list[tuple[int, float, int]] = []
    while (end_s := link.next_s()) is not None and end_s <= until_s:
        found += [(end.ticket, end_s, end.num_pages) for end in told(link, end_s)]
    return found


@pytest.mark.parametrize(
    ("chunk_pages", "begun_s", "passed_s"),
    [(1, 0.0, 0.0), (1, 0.2, 1.5), (1, 1.5, 1.5), (1, 1.6, 2.0), (3, 0.2, 2.5), (3, 2.6, 4.0)],
)
def test_an_urgent_copy_waits_for_one_chunk_of_a_copy_ahead(
    chunk_pages: int, begun_s: float, passed_s: float
) -> None:
    link = a_link(cost=replace(COST, chunk_pages=chunk_pages))
    link.begin(a_copy(1, 1000, is_ahead=True), 0.0)
    link.begin(a_copy(2, 2), begun_s)
    assert ends(link) == [(2, passed_s + 2.0, 2), (1, 503.0, 1000)]
    assert link.busy_s == 503.0


def test_the_last_chunk_of_a_copy_ahead_is_not_held_up() -> None:
    link = a_link()
    link.begin(a_copy(1, 2, is_ahead=True), 0.0)
    link.begin(a_copy(2, 2), 1.7)
    assert ends(link) == [(1, 2.0, 2), (2, 4.0, 2)]


def test_a_copy_ahead_goes_on_after_all_that_are_urgent() -> None:
    link = a_link()
    for ticket in (1, 2):
        link.begin(a_copy(ticket, 4, is_ahead=True), 0.0)
    link.begin(a_copy(3, 2), 1.75)
    link.begin(a_copy(4, 2), 3.0)
    assert ends(link, 6.2) == [(3, 4.0, 2), (4, 6.0, 2)]
    link.begin(a_copy(5, 2), 6.2)  # the first one is on its way again
    assert ends(link) == [(5, 8.5, 2), (1, 9.0, 4), (2, 12.0, 4)]


def test_one_that_is_hurried_is_in_line_as_if_begun_now() -> None:
    link = a_link()
    for ticket in (1, 2, 3):
        link.begin(a_copy(ticket, 4, is_ahead=True), 0.0)
    link.begin(a_copy(4, 2), 1.2)
    for ticket in (3, 9):
        link.hurry(Ticket(ticket), 1.3)  # nobody knows the other one
    link.begin(a_copy(5, 2), 1.4)
    assert ends(link) == [(4, 3.5, 2), (3, 6.5, 4), (5, 8.5, 2), (1, 10.0, 4), (2, 13.0, 4)]


def test_one_that_is_hurried_while_it_moves_is_passed_no_more() -> None:
    link = a_link()
    link.begin(a_copy(1, 4, is_ahead=True), 0.0)
    link.hurry(Ticket(1), 1.2)
    link.begin(a_copy(2, 2), 1.3)
    assert ends(link) == [(1, 3.0, 4), (2, 5.0, 2)]


def test_one_that_is_set_aside_ends_when_it_is_cancelled_with_the_pages_it_has() -> None:
    link = a_link()
    link.begin(a_copy(1, 4, is_ahead=True), 0.0)
    link.begin(a_copy(2, 4), 1.7)
    assert link.cancel(Ticket(1), 3.0)
    assert ends(link) == [(1, 3.0, 2), (2, 5.0, 4)]


def test_a_copy_ahead_goes_on_if_the_one_it_makes_way_for_is_cancelled() -> None:
    link = a_link()
    link.begin(a_copy(1, 4, is_ahead=True), 0.0)
    link.begin(a_copy(2, 4), 1.7)
    assert link.cancel(Ticket(2), 1.8)
    assert ends(link) == [(2, 1.8, 0), (1, 3.0, 4)]


def test_a_copy_waits_no_longer_for_one_that_is_cancelled_in_its_turn() -> None:
    link = a_link(cost=replace(COST, chunk_pages=2))
    link.begin(a_copy(1, 8, is_ahead=True), 0.0)
    link.begin(a_copy(2, 2), 0.5)
    assert link.cancel(Ticket(1), 1.75)  # a page has come, but no chunk
    assert ends(link) == [(1, 1.75, 0), (2, 3.75, 2)]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (None, [(2, 4.0, 2), (1, 5.0, 4)]),
        (Fault.SLOW, [(2, 8.0, 2), (1, 23.0, 4)]),
        (Fault.FAILED, [(2, 4.0, 2), (1, 5.0, 2)]),
        (Fault.LOST, [(2, 4.0, 2)]),
        (Fault.DOUBLE, [(2, 4.0, 2), (1, 5.0, 4), (1, 5.0, 4)]),
        (Fault.LATE, [(2, 4.0, 2), (1, 100.0, 4)]),
    ],
)
def test_a_copy_ahead_goes_wrong_like_any_other(
    fault: Fault | None, expected: list[tuple[int, float, int]]
) -> None:
    link = a_link(fault)
    link.begin(a_copy(1, is_ahead=True), 0.0)
    link.faults = {}
    link.begin(a_copy(2, 2), 2.0)
    link.hurry(Ticket(1), 2.5)
    assert ends(link) == expected


def test_thousands_of_copies_take_no_time_to_speak_of() -> None:
    link = a_link()
    for ticket in range(20_000):
        link.begin(a_copy(ticket, 2, is_ahead=ticket % 2 == 0), 0.0)
    for ticket in range(0, 20_000, 4):
        assert link.cancel(Ticket(ticket), 0.5)
    assert len(ends(link)) == 20_000


# Against a line that is followed tick by tick.

Act = tuple[str, int]
acts = st.one_of(
    st.tuples(st.sampled_from(["begin", "begin ahead"]), st.integers(1, 8)),
    st.tuples(st.sampled_from(["hurry", "cancel"]), st.integers(0, 9)),
)


@dataclass(slots=True)
class Tick:
    """A job of `TickedLine`."""

    num_pages: int
    order: tuple[bool, int]
    done: int = 0
    """Ticks."""


class TickedLine:
    """The same line, with nothing worked out ahead of its time."""

    def __init__(self, latency: int, page: int, chunk_pages: int) -> None:
        self.latency, self.page, self.chunk = latency, page, page * chunk_pages
        self.now, self.busy, self.num_given = 0, 0, 0
        self.jobs: dict[int, Tick] = {}
        self.moves: int | None = None
        self.ended: list[tuple[int, float, int]] = []

    def act(self, act: str, argument: int, ticket: int) -> None:
        self.num_given += 1
        if act.startswith("begin"):
            self.jobs[ticket] = Tick(argument, (act == "begin ahead", self.num_given))
        elif argument in self.jobs and act == "hurry":
            job = self.jobs[argument]
            job.order = min(job.order, (False, self.num_given))
        elif argument in self.jobs:
            self._end(argument)

    def tick(self) -> None:
        if self.moves is None or self._is_between_chunks(self.jobs[self.moves]):
            self.moves = min(self.jobs, key=lambda ticket: self.jobs[ticket].order, default=None)
        self.now += 1
        if self.moves is not None:
            self.busy += 1
            job = self.jobs[self.moves]
            job.done += 1
            if job.done == self.latency + self.page * job.num_pages:
                self._end(self.moves)

    def _end(self, ticket: int) -> None:
        job = self.jobs.pop(ticket)
        moved = max(0, job.done - self.latency)
        is_whole = moved == self.page * job.num_pages
        num_pages = moved // self.chunk * self.chunk // self.page
        self.ended.append((ticket, self.now, job.num_pages if is_whole else num_pages))
        if self.moves == ticket:
            self.moves = None

    def _is_between_chunks(self, job: Tick) -> bool:
        moved = job.done - self.latency
        return job.done == 0 or (moved > 0 and moved % self.chunk == 0)


@settings(max_examples=300)
@given(
    script=st.lists(st.tuples(st.integers(0, 6), acts), max_size=30),
    latency=st.integers(0, 4),
    page=st.integers(1, 3),
    chunk_pages=st.integers(1, 3),
)
def test_the_link_does_what_a_line_does_tick_by_tick(
    script: list[tuple[int, Act]], latency: int, page: int, chunk_pages: int
) -> None:
    line = TickedLine(latency, page, chunk_pages)
    link = VirtualLink(LinkCost(latency, page, chunk_pages=chunk_pages))
    found: list[tuple[int, float, int]] = []
    for ticket, (pause, (act, argument)) in enumerate(script):
        for _ in range(pause):
            line.tick()
        found += ends(link, line.now)
        line.act(act, argument, ticket)
        if act.startswith("begin"):
            copy = a_copy(ticket, argument, is_ahead=act == "begin ahead")
            link.begin(copy, line.now)
        elif act == "hurry":
            link.hurry(Ticket(argument), line.now)
        else:
            link.cancel(Ticket(argument), line.now)
    while line.jobs:
        line.tick()
    found += ends(link)
    assert found == line.ended
    assert link.busy_s == line.busy and link.next_s() is None
