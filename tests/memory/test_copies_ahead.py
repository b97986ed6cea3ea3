"""Copies that nobody waits for yet, in the ledger: they count apart until somebody does."""

from motet.memory.copies import PATIENCE_S, Copies, UnderWay
from motet.memory.copy import CopyEnded, Direction, PagePair, Ticket
from motet.memory.costs import Costs
from motet.memory.manager import MemoryManager
from motet.memory.mover import Mover
from motet.memory.page import Lease, PageId
from motet.memory.prefix import PrefixNode
from motet.memory.residency import Residency
from tests.engine.factories import a_memory
from tests.memory.test_write_back import SECOND, begun, compute, end

TO_DEVICE, TO_HOST = Direction


def a_ledger(*copies: tuple[Direction, bool]) -> Copies:
    """Copies of a page each: where they go, and whether they are ahead. Told to the executor."""
    ledger, memory = Copies(), a_memory(len(copies), costs=Costs())
    compute(memory, 0, len(copies))
    for node, (direction, is_ahead) in zip(memory.kv.states(), copies, strict=True):
        leases: list[Lease] = []
        page = PagePair(PageId(0), node.page)
        ledger.copy(direction, [node], memory.room, leases, [page], is_ahead=is_ahead)
    ledger.take()
    return ledger


def under_way(ledger: Copies, ticket: int) -> UnderWay:
    return next(each for each in ledger if each.work.ticket == ticket)


def counts(ledger: Copies) -> tuple[int, int, int]:
    """To the device: copies and pages that are waited for, and pages ahead."""
    return ledger.num_in(TO_DEVICE), ledger.num_pages_in(TO_DEVICE), ledger.num_pages_ahead


def test_copies_ahead_take_no_place_of_those_that_are_waited_for() -> None:
    ledger = a_ledger((TO_DEVICE, True), (TO_DEVICE, False), (TO_DEVICE, True), (TO_HOST, True))
    assert counts(ledger) == (1, 1, 2)
    assert ledger.num_in(TO_HOST) == ledger.num_pages_in(TO_HOST) == 0
    ledger.give_up(under_way(ledger, 1))
    assert counts(ledger) == (1, 1, 1)


def test_one_that_is_hurried_counts_as_waited_for_and_is_told_once() -> None:
    ledger = a_ledger((TO_DEVICE, True), (TO_DEVICE, False), (TO_DEVICE, True))
    for ticket in (3, 2, 3):
        ledger.hurry(under_way(ledger, ticket))
    assert counts(ledger) == (2, 2, 1)
    assert ledger.take().hurried == (Ticket(3),)
    assert ledger.take().hurried == ()


def test_one_ahead_is_not_overdue_while_others_of_its_line_end() -> None:
    ledger = a_ledger((TO_DEVICE, True), (TO_DEVICE, False), (TO_DEVICE, False), (TO_HOST, False))
    for ticket in (2, 3):
        ledger.now += PATIENCE_S - 1
        ledger.end(Ticket(ticket))
    ledger.now += PATIENCE_S - 1
    assert [each.work.ticket for each in ledger.overdue()] == [4]
    ledger.now += 1
    assert [each.work.ticket for each in ledger.overdue()] == [1, 4]


def test_one_that_is_hurried_is_given_the_time_of_one_begun_now() -> None:
    ledger = a_ledger((TO_DEVICE, True))
    ledger.now = PATIENCE_S - 1
    ledger.hurry(under_way(ledger, 1))
    assert ledger.next_due_s == ledger.now + PATIENCE_S


def with_kv_on_the_host() -> tuple[MemoryManager, Mover, list[PrefixNode]]:
    memory = a_memory(8, costs=Costs())
    compute(memory, 0, 8)
    memory.use_links(0)
    [copy] = begun(memory)
    end(memory, copy)
    assert memory.room.make(8, SECOND)
    memory.transfers()
    return memory, Mover(memory.host, memory.copies), list(memory.kv.states())


def test_what_is_loaded_ahead_and_hurried_comes_like_any_other() -> None:
    memory, mover, [node, *_] = with_kv_on_the_host()
    mover.load([node], memory.room, is_ahead=True)
    [copy] = begun(memory)
    assert copy.is_ahead and memory.copies.num_pages_ahead == 1
    memory.copies.hurry(memory.copies.of(node))
    memory.check()
    assert memory.transfers().hurried == (copy.ticket,)
    ended = mover.end_copy(CopyEnded(copy.ticket, 1))
    assert ended is not None and node.state is Residency.DUAL
    memory.check()


def test_what_is_loaded_ahead_can_be_given_up() -> None:
    memory, mover, [node, *_] = with_kv_on_the_host()
    mover.load([node], memory.room, is_ahead=True)
    [copy] = begun(memory)
    mover.give_up(memory.copies.of(node))
    assert memory.transfers().cancelled == (copy.ticket,)
    assert memory.copies.num_pages_ahead == 0 and node.state is Residency.HOST
    end(memory, copy, 0)
    assert memory.room.pool.num_free == 8
