"""Everything a scheduler was told, in a file: a recorded run is a test case.

A file is msgpack messages, each after its length (4 bytes, little endian): a `Recording`, then a
`Turn` for each turn of the engine.
"""

import hashlib
import logging
from contextlib import suppress
from typing import BinaryIO

import msgspec
from msgspec import Struct

from motet.engine.config import BatchConfig
from motet.engine.messages import Message
from motet.engine.plan import StepPlan, StepResult
from motet.engine.policy import SCHEDULING
from motet.engine.scheduler import Scheduler
from motet.errors import ConfigError
from motet.memory.adapter import Adapter
from motet.memory.costs import Costs
from motet.memory.eviction import eviction_policy
from motet.memory.manager import MemoryConfig, MemoryManager

log = logging.getLogger(__name__)

VERSION = 4
"""Of the format. Grows with every change of what is in a recording."""


class SchedulerSpec(Struct, frozen=True):
    """All that a scheduler is made of."""

    batch: BatchConfig
    max_model_len: int
    num_pages: int
    page_tokens: int
    base_model: str
    adapters: tuple[Adapter, ...]
    num_host_pages: int = 0
    num_adapter_pages: int | None = None
    """Set apart in a pool that is split."""
    costs: Costs = Costs()
    eviction: str = "lru"
    prefetch: bool = True

    def make(self) -> Scheduler:
        config = MemoryConfig(
            num_pages=self.num_pages,
            page_tokens=self.page_tokens,
            base_model=self.base_model,
            num_host_pages=self.num_host_pages,
            num_adapter_pages=self.num_adapter_pages,
            costs=self.costs,
            prefetches=self.prefetch,
        )
        memory = MemoryManager(config, eviction_policy(self.eviction))
        for adapter in self.adapters:
            memory.registry.add(adapter)
        policy = SCHEDULING[self.batch.scheduling]()
        return Scheduler(self.batch, self.max_model_len, memory, policy)


class Recording(Struct, frozen=True):
    version: int
    spec: SchedulerSpec


class Turn(Struct, frozen=True):
    """What was told, which plan that gave, and what came of it."""

    messages: tuple[Message, ...]
    now: float
    plan: str
    """SHA-256 of the plan."""
    result: StepResult | None


class Recorder:
    """Writes turns to a file as they happen, each at once: a crash loses none.

    A file that cannot be written any more, as on a full disk, ends the recording, not the engine.
    """

    def __init__(self, file: BinaryIO, spec: SchedulerSpec) -> None:
        self._file = file
        self._encoder = msgspec.msgpack.Encoder()
        self._write(Recording(VERSION, spec))

    @classmethod
    def open(cls, path: str, spec: SchedulerSpec) -> "Recorder":
        """Raises ConfigError where no file can be written."""
        try:
            return cls(open(path, "wb"), spec)  # for as long as the engine lives
        except OSError as error:
            raise ConfigError(f"--record {path}: {error.strerror}; choose another file") from error

    def add(
        self, messages: tuple[Message, ...], now: float, plan: StepPlan, result: StepResult | None
    ) -> None:
        if self._file.closed:
            return
        try:
            self._write(Turn(messages, now, fingerprint(plan), result))
        except OSError as error:
            log.error("the recording ends here, the engine goes on: %s", error.strerror)
            with suppress(OSError):  # what is in its buffer has no place either
                self._file.close()

    def _write(self, message: Struct) -> None:
        frame = self._encoder.encode(message)
        self._file.write(len(frame).to_bytes(4, "little") + frame)
        self._file.flush()


def fingerprint(plan: StepPlan) -> str:
    """SHA-256 of a plan."""
    return hashlib.sha256(msgspec.msgpack.encode(plan)).hexdigest()
