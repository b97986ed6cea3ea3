"""Reads of adapter directories: every outcome told once, and right pages where it is a good one."""

import gc
import os
import queue
import shutil
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from motet.errors import AdapterError
from motet.file_names import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from motet.memory.adapter import AdapterContent
from motet.memory.copy import Read, ReadEnded, Ticket
from motet.memory.device.host_arena import HostArena
from motet.memory.device.pace import Between, Pace
from motet.memory.device.reader import KEPT_ENDS, Reader
from motet.memory.device.staging import AdapterStager
from motet.memory.device.tables import AdapterTables
from motet.memory.device.weights import AdapterWeights
from motet.memory.layout import PageLayout
from motet.memory.page import PageId
from tests.adapter_factory import NO_TENSORS
from tests.memory.peft_directories import GEOMETRY, a_directory, some_tensors

LAYOUT = PageLayout(num_layers=2, page_tokens=4, num_kv_heads=1, head_dim=8, element_bytes=4)
NUM_PAGES = 8


class Setting:
    """A reader, and what it tells."""

    def __init__(self, check: Callable[[str], None] = lambda directory: None) -> None:
        self.stager = AdapterStager(GEOMETRY, LAYOUT, torch.float32, "base", 64, NO_TENSORS)
        self.host = HostArena(LAYOUT, NUM_PAGES, torch.float32, is_pinned=False)
        self.tables: dict[str, AdapterTables] = {}
        self.ends: queue.SimpleQueue[ReadEnded] = queue.SimpleQueue()
        self.reader = Reader(self.stager, self.host, self.tables, self.ends, check, Pace())

    def end(self) -> ReadEnded:
        return self.ends.get(timeout=10)

    def read(
        self, directory: Path, pages: tuple[int, ...] = (), digest: str | None = None
    ) -> ReadEnded:
        """All of a read, which is the only one."""
        self.reader.begin(a_read(1, directory, pages, digest))
        ended = self.end()
        assert ended.ticket == 1 and self.ends.empty()
        return ended

    def content(self, directory: Path) -> AdapterContent:
        """As somebody reads what nobody has read before."""
        header = self.read(directory).content
        assert header is not None
        content = self.read(directory, tuple(range(header.num_pages))).content
        assert content is not None
        return content


def a_read(
    ticket: int, directory: Path, pages: tuple[int, ...] = (), digest: str | None = None
) -> Read:
    return Read(Ticket(ticket), str(directory), tuple(map(PageId, pages)), digest)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return a_directory(tmp_path / "a")


def other_content(directory: Path, rank: int = 4) -> None:
    """In place of what the directory held."""
    tensors = {name: tensor + 1 for name, tensor in some_tensors(rank).items()}
    a_directory(directory, tensors, r=rank)


def test_a_header_tells_how_many_pages_the_adapter_takes(directory: Path) -> None:
    setting = Setting()
    expected = setting.stager.num_pages(setting.stager.header(str(directory)))
    assert setting.read(directory) == ReadEnded(Ticket(1), AdapterContent(4, expected, None))
    assert expected > 1 and not setting.tables


def test_a_whole_read_fills_its_pages_in_their_order_and_no_other(directory: Path) -> None:
    setting = Setting()
    setting.host.pages.fill_(9)
    weights = setting.stager.read(str(directory))
    num_pages = setting.stager.num_pages(weights)
    expected = torch.empty(num_pages, LAYOUT.elements)
    setting.stager.stage(weights, list(expected))
    places = tuple(reversed(range(1, 1 + num_pages)))

    ended = setting.read(directory, places)

    digest = setting.stager.digest(weights)
    assert ended == ReadEnded(Ticket(1), AdapterContent(4, num_pages, digest))
    assert torch.equal(setting.host.pages[list(places)], expected)
    assert (setting.host.pages[[0, *range(1 + num_pages, NUM_PAGES)]] == 9).all()
    assert setting.tables.keys() == {digest}


def test_what_was_read_before_is_read_again_by_its_digest(directory: Path) -> None:
    setting = Setting()
    content = setting.content(directory)
    setting.tables.clear()
    places = tuple(range(content.num_pages))
    assert setting.read(directory, places, content.digest).content == content
    assert content.digest in setting.tables


def test_tables_and_pattern_are_gone_once_their_digest_is_forgotten(directory: Path) -> None:
    setting = Setting()
    digest = setting.content(directory).digest
    assert digest is not None
    pattern = weakref.ref(setting.tables[digest].pattern)
    del setting.tables[digest]
    gc.collect()
    assert pattern() is None and len(setting.stager.patterns) == 0


# What others do to the files.


def test_another_content_is_named_with_the_remedy_and_never_kept(directory: Path) -> None:
    setting = Setting()
    content = setting.content(directory)
    setting.tables.clear()
    setting.host.pages.fill_(9)
    other_content(directory)
    ended = setting.read(directory, tuple(range(content.num_pages)), content.digest)
    assert (ended.content, ended.kind) == (None, "AdapterChanged")
    assert ended.error is not None
    assert str(directory) in ended.error and "load it again in place" in ended.error
    assert not setting.tables and (setting.host.pages == 9).all()


@pytest.mark.parametrize("rank", [1, 40])
def test_another_number_of_pages_is_a_change_too(rank: int, directory: Path) -> None:
    setting = Setting()
    setting.host.pages.fill_(9)
    num_pages = setting.stager.num_pages(setting.stager.header(str(directory)))
    given = num_pages + 1 if rank == 1 else num_pages
    other_content(directory, rank)
    ended = setting.read(directory, tuple(range(given)))
    assert (ended.content, ended.kind) == (None, "AdapterChanged")
    assert ended.error is not None and f"it took {given} when it was first read" in ended.error
    assert (setting.host.pages == 9).all()


def remove(directory: Path) -> None:
    shutil.rmtree(directory)


def remove_weights(directory: Path) -> None:
    (directory / ADAPTER_WEIGHTS).unlink()


def cut(directory: Path) -> None:
    path = directory / ADAPTER_WEIGHTS
    os.truncate(path, path.stat().st_size - 1)


def empty(directory: Path) -> None:
    os.truncate(directory / ADAPTER_WEIGHTS, 0)


def break_config(directory: Path) -> None:
    (directory / ADAPTER_CONFIG).write_text("{")


def spoil(directory: Path) -> None:
    tensors = some_tensors()
    next(iter(tensors.values()))[0, 0] = torch.nan
    a_directory(directory, tensors)


FAULTS: dict[Callable[[Path], None], str] = {
    remove: "does not exist",
    remove_weights: "adapter_model.safetensors is missing",
    cut: "not a complete safetensors file",
    empty: "not a complete safetensors file",
    break_config: "not valid JSON",
    spoil: "NaN or infinity",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_directory_that_has_become_bad_fails_and_is_read_once_it_is_good(
    fault: Callable[[Path], None], directory: Path
) -> None:
    setting = Setting()
    content = setting.content(directory)
    setting.tables.clear()
    places = tuple(range(content.num_pages))
    fault(directory)
    ended = setting.read(directory, places, content.digest)
    assert (ended.content, ended.kind) == (None, "AdapterError")
    assert ended.error is not None and FAULTS[fault] in ended.error
    assert not setting.tables
    a_directory(directory)
    assert setting.read(directory, places, content.digest).content == content


class Gate:
    """Lets the weights of an adapter be read when they may."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, setting: Setting) -> None:
        self.begun = threading.Semaphore(0)
        self.may_go = threading.Semaphore(0)
        read = setting.stager.read

        def read_when_allowed(directory: str, between: Between) -> AdapterWeights:
            self.begun.release()
            assert self.may_go.acquire(timeout=10)
            return read(directory, between)

        monkeypatch.setattr(setting.stager, "read", read_when_allowed)


def test_a_slow_directory_does_not_keep_another_waiting(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = Setting()
    gate = Gate(monkeypatch, setting)
    setting.reader.begin(a_read(1, directory, (0,)))
    assert gate.begun.acquire(timeout=10)
    setting.reader.begin(a_read(2, a_directory(tmp_path / "b")))
    assert setting.end().ticket == 2
    gate.may_go.release()
    assert setting.end().ticket == 1


def test_a_file_that_shrinks_while_it_is_read_is_an_error(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting, read = Setting(), os.preadv

    def read_after_a_cut(file: int, rooms: list[memoryview], start: int) -> int:
        os.truncate(directory / ADAPTER_WEIGHTS, 10)
        return read(file, rooms, start)

    monkeypatch.setattr(os, "preadv", read_after_a_cut)
    ended = setting.read(directory, (0, 1))
    assert ended.error is not None and "shorter while it was read" in ended.error


# Cancelled reads, and ends.


def test_a_cancelled_read_ends_once_without_content(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = Setting()
    gate = Gate(monkeypatch, setting)
    for ticket in (1, 2, 3):
        setting.reader.begin(a_read(ticket, directory, (0, 1)))
    assert gate.begun.acquire(timeout=10) and gate.begun.acquire(timeout=10)
    for ticket in (1, 2, 3, 3):
        assert setting.reader.cancel(Ticket(ticket))
    gate.may_go.release(3)
    ends = sorted((setting.end() for _ in range(3)), key=lambda ended: ended.ticket)
    assert ends == [ReadEnded(Ticket(ticket), None) for ticket in (1, 2, 3)]
    assert setting.ends.empty() and not setting.tables


def test_the_end_of_a_read_that_is_over_is_told_again_as_it_was(directory: Path) -> None:
    setting = Setting()
    ended = setting.read(directory)
    assert setting.reader.cancel(Ticket(1))
    assert setting.end() == ended


def test_tickets_of_others_are_not_answered_and_old_ones_are_forgotten(directory: Path) -> None:
    setting = Setting()
    for ticket in range(1, KEPT_ENDS + 2):
        setting.reader.begin(a_read(ticket, directory.with_name("none")))
    for _ in range(KEPT_ENDS + 1):
        setting.end()
    assert not setting.reader.cancel(Ticket(KEPT_ENDS + 2))
    assert len(setting.reader._told) == KEPT_ENDS


def test_what_nobody_has_thought_of_is_told_by_its_name_alone(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    setting = Setting()

    def fail(directory: str, between: Between) -> AdapterWeights:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(setting.stager, "read", fail)
    assert setting.read(directory, (0,)) == ReadEnded(
        Ticket(1), None, "ZeroDivisionError", "MotetError"
    )
    assert "a secret" in caplog.text
    assert setting.read(directory).content is not None


def test_the_other_files_of_a_directory_are_looked_at_when_it_is_first_read(
    directory: Path,
) -> None:
    looked: list[str] = []

    def refuse(directory: str) -> None:
        looked.append(directory)
        raise AdapterError("its chat template is none")

    setting = Setting(refuse)
    assert setting.read(directory).error == "its chat template is none"
    assert setting.read(directory, (0,)).kind == "AdapterChanged"  # by its pages: it went on
    assert looked == [str(directory)]


def test_warnings_are_logged_when_a_directory_is_first_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    setting = Setting()
    setting.content(a_directory(tmp_path / "a", None, invented="yes"))
    assert caplog.text.count("its field 'invented' is unknown") == 1


def test_a_reader_that_nobody_holds_leaves_no_thread(directory: Path) -> None:
    setting = Setting()
    setting.read(directory)
    threads = setting.reader._workers.threads
    del setting
    for thread in threads:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in threads)
