"""Virtual time: nothing is computed or copied, but everything takes what a cost model says."""

from collections.abc import Sequence
from dataclasses import dataclass

from motet.bench.replay.arm import Arm
from motet.bench.replay.executor import ReplayExecutor
from motet.bench.replay.run import Setting
from motet.client.workloads.trace import Passage
from motet.engine.core import EngineCore
from motet.engine.fake.clock import VirtualClock
from motet.engine.fake.disk import FakeDisk
from motet.engine.fake.lines import Lines
from motet.engine.fake.link import VirtualLink
from motet.engine.inbox import Inbox
from motet.engine.messages import Message
from motet.engine.output import EngineInfo
from motet.engine.recording import SchedulerSpec
from motet.memory.adapter import Adapter

TURN_S = 1e-4
"""Of a turn in which nothing is computed: the engine's own work."""

TEXT_LENGTH = 2**20
"""Tokens that a text may have: ids of tokens tell which text they are of, and where they stand."""


@dataclass(frozen=True, slots=True)
class VirtualStage:
    core: EngineCore
    executor: ReplayExecutor

    @property
    def answers(self) -> dict[str, Sequence[int]]:
        return self.executor.answers

    @property
    def now(self) -> float:
        return self.executor.clock.now

    @property
    def busy_s(self) -> float:
        return self.executor.busy_s

    def tokens(self, passage: Passage) -> range:
        first = passage.hash_id * TEXT_LENGTH
        return range(first, first + passage.num_tokens)

    def take(self, wait_s: float | None, until_s: float | None) -> list[Message]:
        messages = self.core.inbox.take(0)
        if not messages and wait_s != 0.0:
            self._pass_time(wait_s, until_s)
            messages = self.core.inbox.take(0)
        return messages

    def rest(self) -> None:
        self._pass_time(TURN_S, None)

    def _pass_time(self, wait_s: float | None, until_s: float | None) -> None:
        now = self.now
        times = (None if wait_s is None else now + wait_s, until_s, self.executor.lines.next_s())
        self.executor.clock.now = max(now, min(time for time in times if time is not None))
        self.executor.end_copies()

    def restart(self) -> None:
        self.executor.clock.now = 0.0


def virtual_stage(setting: Setting, arm: Arm) -> VirtualStage:
    page_bytes, cost = setting.page_bytes, setting.cost
    inbox, disk = Inbox(), FakeDisk()
    for name, num_pages in setting.state.adapter_pages.items():
        disk.put(name, name, num_pages)
    lines = Lines(
        VirtualLink(cost.link(page_bytes)),
        VirtualLink(cost.link(page_bytes)),
        VirtualLink(cost.disk(page_bytes)),
    )
    executor = ReplayExecutor(
        VirtualClock(), inbox, lines, disk, cost, page_bytes, setting.page_tokens
    )
    share = None if arm.pool_split == "unified" else float(arm.pool_split)
    spec = SchedulerSpec(
        batch=setting.batch,
        max_model_len=2**20,
        num_pages=setting.num_pages,
        page_tokens=setting.page_tokens,
        base_model="base",
        adapters=tuple(
            Adapter(name, name, 0, 8, num_pages, name)
            for name, num_pages in setting.state.adapter_pages.items()
        ),
        num_host_pages=setting.num_host_pages,
        num_adapter_pages=None if share is None else int(share * setting.num_pages),
        costs=cost.costs(page_bytes),
        eviction=arm.eviction,
        prefetch=arm.prefetch,
    )
    info = EngineInfo(
        model="base",
        architecture="",
        dtype="",
        device="",
        vocab_size=2**62,
        max_model_len=2**20,
        eos_token_ids=(),
        max_lora_rank=256,
        max_batch_rows=setting.batch.max_batch_rows,
        max_batch_adapters=setting.batch.max_batch_adapters,
        num_pages=setting.num_pages,
        page_bytes=page_bytes,
        page_tokens=setting.page_tokens,
        rank16_adapter_pages=0,
        adapters=(),
    )
    return VirtualStage(EngineCore(info, spec.make(), executor, inbox), executor)
