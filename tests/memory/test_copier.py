"""Real copies: right bytes both ways, each told once, stopped when asked."""

import queue
import random
import threading
from collections.abc import Iterator, Sequence

import pytest
import torch

from motet.memory.copy import Copy, CopyEnded, Direction, PagePair, Ticket
from motet.memory.device import copier as copying
from motet.memory.device.arena import Arena
from motet.memory.device.copier import Copier
from motet.memory.device.host_arena import HostArena
from motet.memory.device.throttle import BYTES_PER_GIGABIT
from motet.memory.layout import PageLayout
from motet.memory.page import PageId

LAYOUT = PageLayout(num_layers=2, page_tokens=4, num_kv_heads=2, head_dim=8, element_bytes=2)
CHUNK_PAGES = 4
NUM_PAGES = 32
GPU = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
)
DEVICES = ["cpu", pytest.param("cuda", marks=GPU)]
DIRECTIONS = list(Direction)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "CHUNK_BYTES", CHUNK_PAGES * LAYOUT.page_bytes)


class Ends(queue.SimpleQueue[CopyEnded]):
    def next(self) -> CopyEnded:
        return self.get(timeout=10)


class Setting:
    """Two arenas of different numbers."""

    def __init__(self, device: str = "cpu", link_gbps: float | None = None) -> None:
        is_pinned = device == "cuda"
        self.arena = Arena(LAYOUT, NUM_PAGES, torch.bfloat16, torch.device(device))
        self.host = HostArena(LAYOUT, NUM_PAGES, torch.bfloat16, is_pinned=is_pinned)
        generator = torch.Generator().manual_seed(0)
        for pages in (self.arena.pages, self.host.pages):
            pages.copy_(torch.randn(pages.shape, generator=generator))
        self.ends = Ends()
        self.copier = Copier(self.arena, self.host, self.ends, link_gbps)

    def sides(self, direction: Direction) -> tuple[torch.Tensor, torch.Tensor]:
        """Where pages come from, and where they go to."""
        device, host = self.arena.pages, self.host.pages
        return (host, device) if direction is Direction.TO_DEVICE else (device, host)


def a_copy(
    ticket: int,
    pages: Sequence[tuple[int, int]],
    direction: Direction = Direction.TO_DEVICE,
    *,
    is_ahead: bool = False,
) -> Copy:
    """`pages` are (host, device)."""
    pairs = tuple(PagePair(PageId(host), PageId(device)) for host, device in pages)
    return Copy(Ticket(ticket), direction, pairs, is_ahead)


def some_chunks(ticket: int, num_chunks: int, *, is_ahead: bool = False) -> Copy:
    """To the device, from the page whose number is eight times the ticket."""
    start = 8 * ticket
    pages = [(page, page) for page in range(start, start + num_chunks * CHUNK_PAGES)]
    return a_copy(ticket, pages, is_ahead=is_ahead)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_page_lies_where_it_should_and_nothing_else_is_touched(
    direction: Direction, device: str
) -> None:
    setting = Setting(device)
    source, target = (pages.cpu().clone() for pages in setting.sides(direction))
    first = [(4, 3), (0, 1), (31, 30), (2, 7), (9, 8), (8, 9), (7, 31), (6, 0), (5, 12)]
    second = [(1, 2), (3, 4), (10, 5)]
    copies = [a_copy(ticket, pages, direction) for ticket, pages in enumerate((first, second))]
    setting.copier.begin(copies)
    assert [setting.ends.next() for _ in copies] == [
        CopyEnded(Ticket(0), len(first)),
        CopyEnded(Ticket(1), len(second)),
    ]
    for host, page in (*first, *second):
        if direction is Direction.TO_DEVICE:
            target[page] = source[host]
        else:
            target[host] = source[page]
    torch.testing.assert_close(setting.sides(direction)[1].cpu(), target)


@pytest.mark.parametrize("device", DEVICES)
def test_a_page_that_goes_to_the_host_comes_back_as_it_was(device: str) -> None:
    setting = Setting(device)
    before = setting.arena.pages[5].cpu().clone()
    setting.copier.begin([a_copy(1, [(9, 5)], Direction.TO_HOST)])
    assert setting.ends.next() == CopyEnded(Ticket(1), 1)
    setting.arena.poison([PageId(5), PageId(6)])
    setting.copier.begin([a_copy(2, [(9, 6)])])
    assert setting.ends.next() == CopyEnded(Ticket(2), 1)
    torch.testing.assert_close(setting.arena.pages[6].cpu(), before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_copy_to_the_host_waits_for_what_is_still_being_computed() -> None:
    setting = Setting("cuda")
    factor = torch.ones(4096, 4096, device="cuda")
    for _ in range(50):  # keeps the stream of the computation busy for a while
        factor = factor @ factor / 4096
    setting.arena.pages[3] = factor[0, 0] + 6
    setting.copier.begin([a_copy(1, [(3, 3)], Direction.TO_HOST)])
    assert setting.ends.next() == CopyEnded(Ticket(1), 1)
    assert (setting.host.pages[3] == 7).all()


class Gate:
    """A link that moves a chunk when it may, and says when it has begun one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, setting: Setting) -> None:
        self.begun = threading.Semaphore(0)
        self.may_go = threading.Semaphore(0)
        link = setting.copier._lanes[Direction.TO_DEVICE]._link
        copy = link.copy

        def copy_when_allowed(pairs: tuple[PagePair, ...]) -> None:
            self.begun.release()
            assert self.may_go.acquire(timeout=10)
            copy(pairs)

        monkeypatch.setattr(link, "copy", copy_when_allowed)


def test_a_cancelled_copy_stops_between_two_chunks_and_says_how_far_it_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setting = Setting()
    gate = Gate(monkeypatch, setting)
    before = setting.arena.pages.clone()
    first, second = ([(page, page) for page in pages] for pages in (range(9), range(9, 18)))
    setting.copier.begin([a_copy(1, first), a_copy(2, second)])
    assert gate.begun.acquire(timeout=10)
    setting.copier.cancel(Ticket(2))
    setting.copier.cancel(Ticket(1))
    setting.copier.cancel(Ticket(1))  # to ask twice changes nothing
    gate.may_go.release()
    assert setting.ends.next() == CopyEnded(Ticket(1), CHUNK_PAGES)
    assert setting.ends.next() == CopyEnded(Ticket(2), 0)
    assert setting.ends.empty()
    moved = slice(CHUNK_PAGES)
    torch.testing.assert_close(setting.arena.pages[moved], setting.host.pages[moved])
    torch.testing.assert_close(setting.arena.pages[CHUNK_PAGES:], before[CHUNK_PAGES:])


class GatedCopies:
    """Copies ahead and others, taken chunk by chunk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, setting: Setting) -> None:
        self.setting = setting
        self.copier = setting.copier
        self.ends = setting.ends
        self.gate = Gate(monkeypatch, setting)
        self.before = setting.arena.pages.cpu().clone()

    def begin(self, *copies: Copy) -> None:
        self.copier.begin(copies)

    def wait_for_chunk(self) -> None:
        """The next one is on its way."""
        assert self.gate.begun.acquire(timeout=10)

    def let_go(self, num_chunks: int = 1) -> None:
        for _ in range(num_chunks):
            self.gate.may_go.release()

    def is_moved(self, copy: Copy, num_pages: int) -> bool:
        """So many of its pages and no more are as on the host."""
        device, host = self.setting.arena.pages.cpu(), self.setting.host.pages
        rights = [*[host] * num_pages, *[self.before] * (len(copy.pages) - num_pages)]
        pages = [pair.device for pair in copy.pages]
        return all(
            device[page].equal(right[page]) for page, right in zip(pages, rights, strict=True)
        )


@pytest.mark.parametrize("device", DEVICES)
def test_an_urgent_copy_passes_one_ahead_after_its_current_chunk(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = GatedCopies(monkeypatch, Setting(device))
    ahead, urgent = some_chunks(1, 2, is_ahead=True), some_chunks(3, 1)
    copies.begin(ahead)
    copies.wait_for_chunk()
    copies.begin(urgent)
    copies.let_go(2)
    assert copies.ends.next() == CopyEnded(Ticket(3), CHUNK_PAGES)
    assert copies.ends.empty()
    assert copies.is_moved(urgent, CHUNK_PAGES) and copies.is_moved(ahead, CHUNK_PAGES)
    copies.let_go()
    assert copies.ends.next() == CopyEnded(Ticket(1), 2 * CHUNK_PAGES)
    assert copies.is_moved(ahead, 2 * CHUNK_PAGES)


def test_copies_ahead_go_in_the_order_given_and_one_that_is_hurried_passes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copies = GatedCopies(monkeypatch, Setting())
    copies.begin(*(some_chunks(ticket, 2, is_ahead=True) for ticket in range(3)))
    copies.wait_for_chunk()
    copies.copier.hurry([Ticket(2), Ticket(9)])  # nobody knows the other one
    copies.copier.begin([some_chunks(3, 1)])
    copies.let_go(7)
    assert [copies.ends.next().ticket for _ in range(4)] == [2, 3, 0, 1]


def test_one_that_is_hurried_while_it_moves_is_passed_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copies = GatedCopies(monkeypatch, Setting())
    copies.begin(some_chunks(0, 3, is_ahead=True))
    copies.wait_for_chunk()
    copies.copier.hurry([Ticket(0)])
    copies.begin(some_chunks(2, 1))
    copies.let_go(4)
    assert [copies.ends.next().ticket for _ in range(2)] == [0, 2]


def test_one_that_is_set_aside_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    copies = GatedCopies(monkeypatch, Setting())
    ahead, urgent = some_chunks(0, 2, is_ahead=True), some_chunks(2, 2)
    copies.begin(ahead)
    copies.wait_for_chunk()
    copies.begin(urgent)
    copies.let_go()
    copies.wait_for_chunk()  # the first of the urgent one
    copies.copier.cancel(Ticket(0))
    copies.copier.cancel(Ticket(0))
    copies.let_go()
    assert copies.ends.next() == CopyEnded(Ticket(0), CHUNK_PAGES)
    assert copies.ends.empty() and copies.is_moved(ahead, CHUNK_PAGES)
    copies.let_go()
    assert copies.ends.next() == CopyEnded(Ticket(2), 2 * CHUNK_PAGES)
    assert copies.ends.empty()


def test_each_end_is_told_once_whatever_is_hurried_and_cancelled() -> None:
    setting, rng = Setting(), random.Random(0)
    cancelled, num_pages = set[int](), 2 * CHUNK_PAGES
    for ticket in range(500):
        pages = [(page, page) for page in range(num_pages)]
        setting.copier.begin([a_copy(ticket, pages, is_ahead=rng.random() < 0.7)])
        setting.copier.hurry([Ticket(rng.randrange(ticket + 1))])
        if rng.random() < 0.2:
            cancelled.add(chosen := rng.randrange(ticket + 1))
            setting.copier.cancel(Ticket(chosen))
    ends: dict[int, list[CopyEnded]] = {}
    while len(ends) < 500 or not setting.ends.empty():
        ended = setting.ends.next()
        ends.setdefault(ended.ticket, []).append(ended)
    for ticket in ends.keys() - cancelled:
        assert ends[ticket] == [CopyEnded(Ticket(ticket), num_pages)]


def test_what_is_urgent_in_one_direction_sets_nothing_aside_in_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copies = GatedCopies(monkeypatch, Setting())
    pages = [(page, page) for page in range(16, 16 + 2 * CHUNK_PAGES)]
    copies.begin(some_chunks(0, 2))
    copies.wait_for_chunk()
    copies.begin(a_copy(1, pages, Direction.TO_HOST, is_ahead=True))
    assert copies.ends.next() == CopyEnded(Ticket(1), 2 * CHUNK_PAGES)
    copies.let_go(2)
    assert copies.ends.next() == CopyEnded(Ticket(0), 2 * CHUNK_PAGES)


def test_one_direction_does_not_wait_for_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting()
    gate = Gate(monkeypatch, setting)
    setting.copier.begin([a_copy(1, [(1, 1)]), a_copy(2, [(2, 2)], Direction.TO_HOST)])
    assert setting.ends.next() == CopyEnded(Ticket(2), 1)
    gate.may_go.release()
    assert setting.ends.next() == CopyEnded(Ticket(1), 1)


def test_the_end_of_a_copy_that_is_over_is_told_again() -> None:
    setting = Setting()
    setting.copier.begin([a_copy(1, [(0, 0)])])
    assert setting.ends.next() == CopyEnded(Ticket(1), 1)
    setting.copier.cancel(Ticket(1))
    assert setting.ends.next().ticket == 1


def test_a_copy_that_fails_is_told_and_the_next_one_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    setting = Setting()
    beyond = [(page, page) for page in range(CHUNK_PAGES)] + [(NUM_PAGES, 5)]
    setting.copier.begin([a_copy(1, beyond), a_copy(2, [(0, 0)])])
    assert setting.ends.next() == CopyEnded(Ticket(1), CHUNK_PAGES, "IndexError")
    assert setting.ends.next() == CopyEnded(Ticket(2), 1)
    assert "copy 1 to_device" in caplog.text


@pytest.fixture
def slow_link() -> Iterator[Setting]:
    """A chunk takes hours."""
    setting = Setting(link_gbps=CHUNK_PAGES * LAYOUT.page_bytes / BYTES_PER_GIGABIT / 10_000)
    yield setting
    for ticket in range(10):
        setting.copier.cancel(Ticket(ticket))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_copy_on_a_slow_link_can_be_stopped_at_once(
    direction: Direction, slow_link: Setting
) -> None:
    pages = [(page, page) for page in range(3 * CHUNK_PAGES)]
    slow_link.copier.begin([a_copy(1, pages, direction)])
    slow_link.copier.cancel(Ticket(1))
    ended = slow_link.ends.next()
    assert ended.num_pages in (0, CHUNK_PAGES) and ended.error is None


def test_a_copier_that_nobody_holds_leaves_no_thread() -> None:
    setting = Setting()
    setting.copier.begin([a_copy(1, [(0, 0)])])
    setting.ends.next()
    (thread,) = setting.copier._lanes[Direction.TO_DEVICE]._worker.threads
    assert not setting.copier._lanes[Direction.TO_HOST]._worker.threads[0].is_alive()
    del setting
    thread.join(timeout=10)
    assert not thread.is_alive()
