"""Real copies: right bytes, each told once, stopped when asked."""

import queue
import threading
from collections.abc import Sequence
from typing import cast

import pytest
import torch

from motet.memory.copy import Copy, CopyEnded, Direction, PagePair, Ticket
from motet.memory.device.arena import Arena
from motet.memory.device.copier import CHUNK_PAGES, Copier
from motet.memory.device.store import HostStore
from motet.memory.layout import PageLayout
from motet.memory.page import PageId

LAYOUT = PageLayout(num_layers=2, page_tokens=4, num_kv_heads=2, head_dim=8, element_bytes=2)
NUM_PAGES = 32
GPU = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
)
DEVICES = ["cpu", pytest.param("cuda", marks=GPU)]


class Image:
    def __init__(self, pages: torch.Tensor) -> None:
        self.pages = pages


class Slow(dict[str, Image]):
    """Images that are found only when they may be."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.may_go = threading.Semaphore(0)

    def __getitem__(self, digest: str) -> Image:
        assert self.may_go.acquire(timeout=10)
        return super().__getitem__(digest)


class Setting:
    def __init__(self, device: str, images: dict[str, Image]) -> None:
        self.arena = Arena(LAYOUT, NUM_PAGES, torch.bfloat16, torch.device(device))
        self.arena.flat.zero_()
        self.ends: queue.SimpleQueue[CopyEnded] = queue.SimpleQueue()
        self.copier = Copier(self.arena, cast(HostStore, images), self.ends)

    def end(self) -> CopyEnded:
        return self.ends.get(timeout=10)


def an_image(num_pages: int, seed: int = 0) -> Image:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(num_pages, LAYOUT.elements, generator=generator)
    return Image(values.to(torch.bfloat16))


def a_copy(ticket: int, digest: str, to: Sequence[int]) -> Copy:
    pages = tuple(PagePair(host, PageId(device)) for host, device in enumerate(to))
    return Copy(Ticket(ticket), Direction.TO_DEVICE, digest, pages)


@pytest.mark.parametrize("device", DEVICES)
def test_every_page_lies_where_it_should_and_nothing_else_is_touched(device: str) -> None:
    images = {name: an_image(9, seed) for seed, name in enumerate("ab")}
    setting = Setting(device, images)
    places = {"a": [3, 1, 30, 7, 8, 9, 31, 0, 12], "b": [2, 4, 5, 6, 10, 11, 13, 14, 15]}
    for ticket, (name, to) in enumerate(places.items()):
        setting.copier.begin(a_copy(ticket, name, to))
    assert [setting.end() for _ in range(2)] == [CopyEnded(Ticket(t), 9) for t in range(2)]
    for name, to in places.items():
        torch.testing.assert_close(setting.arena.pages[to].cpu(), images[name].pages)
    rest = sorted(set(range(NUM_PAGES)) - {page for to in places.values() for page in to})
    assert not setting.arena.pages[rest].any()


def test_a_cancelled_copy_stops_between_two_chunks_and_says_how_far_it_came() -> None:
    image = an_image(9)
    images = Slow({"a": image})
    setting = Setting("cpu", images)
    setting.copier.begin(a_copy(1, "a", range(9)))
    setting.copier.begin(a_copy(2, "a", range(9, 18)))
    setting.copier.cancel(Ticket(2))
    images.may_go.release()
    setting.copier.cancel(Ticket(1))
    first, second = setting.end(), setting.end()
    assert first.ticket == 1 and first.num_pages in (0, CHUNK_PAGES) and first.error is None
    assert second == CopyEnded(Ticket(2), 0)
    assert not setting.arena.pages[9:].any()
    num_pages = first.num_pages
    torch.testing.assert_close(setting.arena.pages[:num_pages], image.pages[:num_pages])


def test_the_end_of_a_copy_that_is_over_is_told_again() -> None:
    setting = Setting("cpu", {"a": an_image(1)})
    setting.copier.begin(a_copy(1, "a", [0]))
    assert setting.end() == CopyEnded(Ticket(1), 1)
    setting.copier.cancel(Ticket(1))
    assert setting.end().ticket == 1


def test_a_copy_that_fails_is_told_and_the_next_one_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    setting = Setting("cpu", {"short": an_image(2), "good": an_image(1)})
    setting.copier.begin(a_copy(1, "short", range(6)))
    setting.copier.begin(a_copy(2, "gone", [0]))
    setting.copier.begin(a_copy(3, "good", [0]))
    short, gone, good = (setting.end() for _ in range(3))
    assert (short.num_pages, short.error) == (0, "IndexError")
    assert gone.error == "KeyError"
    assert good == CopyEnded(Ticket(3), 1)
    assert "copy of adapter gone" in caplog.text


def test_a_copier_that_nobody_holds_leaves_no_thread() -> None:
    before = threading.active_count()
    setting = Setting("cpu", {"a": an_image(1)})
    setting.copier.begin(a_copy(1, "a", [0]))
    setting.end()
    (thread,) = setting.copier._thread._threads
    del setting
    thread.join(timeout=10)
    assert threading.active_count() <= before
