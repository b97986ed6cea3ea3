"""A recorded run, made again, has the same plans."""

import errno
import io
import os
import random
from collections import deque
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from motet.engine.config import BatchConfig
from motet.engine.core import EngineCore
from motet.engine.fake.virtual import VirtualEngine
from motet.engine.inbox import Inbox
from motet.engine.messages import Aborted, Arrived, Call, LoadAdapter, PinAdapter, RegisterAdapter
from motet.engine.output import TokenOutput
from motet.engine.recording import Recorder, SchedulerSpec
from motet.engine.replay import replay
from motet.engine.request import Request
from motet.errors import ConfigError
from motet.memory.adapter import Adapter
from tests.engine.factories import PAGE_TOKENS, a_request, an_adapter, an_executor, an_info
from tests.engine.oracle import faulty_lines

ADAPTERS = tuple(an_adapter(f"a{i}", num_pages=1 + i % 5) for i in range(24))
SPEC = SchedulerSpec(
    batch=BatchConfig(24, 12, 5),
    max_model_len=256,
    num_pages=50,
    page_tokens=PAGE_TOKENS,
    base_model="base",
    adapters=ADAPTERS,
    num_host_pages=100,
)


def some_requests(rng: random.Random) -> Iterator[Request]:
    """Prompts that go on from earlier ones, on few adapters more than on others."""
    earlier: deque[tuple[tuple[int, ...], Adapter | None]] = deque([((), None)], maxlen=30)
    for number in count():
        prompt, adapter = rng.choice(earlier)
        if not prompt or len(prompt) > 60:
            prompt, adapter = (), rng.choice([None, *ADAPTERS, *ADAPTERS[:3] * 16])
        prompt = (*prompt, *rng.choices(range(1000), k=rng.randrange(1, 20)))
        earlier.append((prompt, adapter))
        max_tokens = rng.choice([*range(1, 12), 90])  # few are as long as nobody expects
        yield a_request(prompt, max_tokens, adapter, f"recorded-{number}")


def a_recorded_run(file: BinaryIO, num_requests: int) -> list[TokenOutput]:
    """Requests, aborts, commands, copies and reads that go wrong."""
    rng, inbox = random.Random(3), Inbox()
    scheduler = SPEC.make()
    executor = an_executor(scheduler, inbox, faulty_lines(3, rng))
    recorder = Recorder(file, SPEC)
    core = EngineCore(an_info(), scheduler, executor, inbox, recorder)
    engine = VirtualEngine(core, executor)
    late = an_adapter("late", num_pages=3)
    executor.disk.put(late.path, "digest-of-late", late.num_pages)
    inbox.put(Call(1, RegisterAdapter(late)))
    inbox.put(Arrived(a_request(5, 9, late, "late"), 0.0))
    outputs: list[TokenOutput] = []
    for request in islice(some_requests(rng), num_requests):
        inbox.put(Arrived(request, engine.now))
        if rng.random() < 0.2:
            inbox.put(Aborted(request.request_id))
        if rng.random() < 0.1:
            adapter = rng.choice(ADAPTERS)
            inbox.put(Call(2, LoadAdapter(adapter.name, adapter.path, in_place=True)))
            inbox.put(Call(3, PinAdapter(ADAPTERS[0].name, is_pinned=rng.random() < 0.5)))
        outputs += engine.turn().outputs
    while scheduler.has_work:
        outputs += engine.turn().outputs
    return outputs


def test_the_same_messages_give_the_same_plans() -> None:
    file = io.BytesIO()
    outputs = a_recorded_run(file, num_requests=500)
    assert len(outputs) > 2000
    file.seek(0)
    turns = list(replay(file))
    assert len(turns) > 300
    assert all(turn.is_same for turn in turns)
    stats = turns[-1].scheduler.stats()
    assert stats.preemptions > 0 and stats.adapter_page_evictions > 0
    assert stats.written_back_kv_pages > 0 and stats.restored_kv_pages > 0
    assert stats.adapter_reads > 0 and stats.host_kv_page_evictions > 0


def test_another_message_gives_another_plan() -> None:
    """The comparison can fail."""
    file = io.BytesIO()
    a_recorded_run(file, num_requests=5)
    recorded = file.getvalue()
    assert b"recorded-0" in recorded
    changed = io.BytesIO(recorded.replace(b"recorded-0", b"recorded-X", 1))
    *same, last = replay(changed)
    assert all(turn.is_same for turn in same) and not last.is_same


@pytest.mark.parametrize("num_missing", [1, 100])
def test_a_recording_that_was_cut_off_is_replayed_as_far_as_it_goes(num_missing: int) -> None:
    file = io.BytesIO()
    a_recorded_run(file, num_requests=20)
    whole = len(list(replay(io.BytesIO(file.getvalue()))))
    turns = list(replay(io.BytesIO(file.getvalue()[:-num_missing])))
    assert 0 < len(turns) < whole and all(turn.is_same for turn in turns)


@pytest.mark.parametrize("content", [b"", b"no recording at all", b"\x02\x00\x00\x00\x92\x01"])
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(ConfigError, match="this is no recording"):
        list(replay(io.BytesIO(content)))


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--record .*missing/run: No such file"):
        Recorder.open(str(tmp_path / "missing" / "run"), SPEC)


class FullDisk(io.RawIOBase):
    """Takes so many bytes."""

    def __init__(self, num_bytes: int) -> None:
        self.written = bytearray()
        self._num_bytes = num_bytes

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        num_bytes = min(len(data), self._num_bytes - len(self.written))
        if num_bytes == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.written += data[:num_bytes]
        return num_bytes


def test_a_full_disk_ends_the_recording_and_not_the_engine(
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk = FullDisk(10_000)
    outputs = a_recorded_run(io.BufferedWriter(disk), num_requests=20)
    assert len(outputs) == len(a_recorded_run(io.BytesIO(), num_requests=20))
    (record,) = caplog.records
    assert "No space left" in record.getMessage()
    turns = list(replay(io.BytesIO(disk.written)))
    assert turns and all(turn.is_same for turn in turns)
