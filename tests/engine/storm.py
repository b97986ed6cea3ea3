"""The weather that correctness must survive: preempt, evict, abort and re-admit by a seed.

Drives a scheduler and any executor; tells the caller every token. Counts what it forced, since a
storm that did not happen proves nothing.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, field
from typing import Protocol

from motet.engine.core import EngineCore, handle
from motet.engine.messages import Aborted, Arrived, Message, StepFinished
from motet.engine.output import TokenOutput
from motet.engine.plan import Row
from motet.engine.policy import FirstComeFirstServed
from motet.engine.request import Request
from motet.engine.scheduler import Scheduler
from motet.engine.sequence import Sequence
from motet.memory.adapter_cache import AdapterState
from motet.memory.copy import Transfers
from motet.memory.prefix import PrefixNode
from motet.memory.residency import HostCopy, Rank
from tests.engine.adapter_storm import ADAPTER_EVENTS, AdapterStorm
from tests.engine.agent_storm import AgentStorm

FORCED_EVENTS = (
    "chunked prefill",
    "prefix hit",
    "preemption",
    "preemption amid prompt scores",
    "KV eviction",
    "adapter eviction",
    "adapter load",
    "adapter read",
    "write-back",
    "KV restored",
    "host eviction of KV",
    "host eviction of an adapter",
    "abort between steps",
    "abort during a step",
    "slow copy",
    "failed copy",
    "lost copy",
    "late copy",
    "double copy",
    "cancelled copy",
    *ADAPTER_EVENTS,
)
"""What a storm counts."""


class StormPolicy(FirstComeFirstServed):
    """Every request has a random turn, and any may be preempted."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def rank(self, request: Request, number: int) -> Rank:
        return (self._rng.random(), number)

    def victim(self, candidates: Ordered[Sequence]) -> Sequence:
        return self._rng.choice(candidates)


class Driven(Protocol):
    """A core with its clock: virtual or real."""

    @property
    def core(self) -> EngineCore: ...

    @property
    def now(self) -> float: ...

    def take(self) -> list[Message]:
        """As `EngineCore.take`."""


@dataclass(slots=True)
class Storm:
    """One run. `requests` arrive while fewer than `max_unfinished` are on their way."""

    engine: Driven
    rng: random.Random
    requests: Iterator[Request]
    on_output: Callable[[TokenOutput], None]
    adapters: AdapterStorm | None = None
    """None: those there are stay as they are."""
    agents: AgentStorm | None = None
    """None: nobody says anything of them."""
    max_unfinished: int = 24
    abort_probability: float = 0.1
    preempt_probability: float = 0.12
    evict_probability: float = 0.16
    forced: Counter[str] = field(default_factory=Counter)
    unfinished: dict[str, Request] = field(default_factory=dict)
    is_checked: bool = True

    @property
    def scheduler(self) -> Scheduler:
        return self.engine.core.scheduler

    def turn(self) -> None:
        """One turn, with everything that may happen before, during and after its step."""
        scheduler, executor = self.scheduler, self.engine.core.executor
        if self.adapters is not None:
            self.adapters.turn()
            self._tell(self.adapters.take_outputs())
        if self.agents is not None:
            outputs, replies = self.agents.turn()
            self._tell(outputs)
            if self.adapters is not None:
                self.adapters.hear(replies)
        self._arrive()
        self._force()
        outputs, replies = handle(scheduler, self.engine.take(), self.engine.now)
        if self.adapters is not None:
            self.adapters.hear(replies)
        self._tell(outputs)
        plan = scheduler.plan()
        self.forced["chunked prefill"] += sum(self._is_chunk(row) for row in plan.batch.rows)
        self._count(plan.transfers)
        executor.begin(plan.transfers)
        if plan.batch.rows:
            result = executor.execute(plan.batch)
            self._abort("abort during a step")
            self._tell(scheduler.handle(StepFinished(result, 0.0)))
        self._abort("abort between steps")
        if self.is_checked:
            scheduler.check()

    def finish(self) -> None:
        """No more arrivals: run until everything has ended, and every copy too."""
        self.max_unfinished = 0
        if self.adapters is not None:
            self.adapters.probability = 0.0
        if self.agents is not None:
            self.agents.probability = 0.0
        while self.scheduler.has_work:
            self.turn()

    def _count(self, transfers: Transfers) -> None:
        counts = self.scheduler.memory.counts()
        self.forced["adapter load"] = counts.adapter_loads
        self.forced["adapter read"] += len(transfers.reads)
        self.forced["write-back"] = counts.written_back_kv_pages
        self.forced["KV restored"] = counts.restored_kv_pages

    def _is_chunk(self, row: Row) -> bool:
        """More of the prompt follows."""
        return row.sampling is None and row.end < len(self.unfinished[row.request_id].prompt)

    def _arrive(self) -> None:
        while len(self.unfinished) < self.max_unfinished:
            request = next(self.requests, None)
            if request is None:
                return
            self.unfinished[request.request_id] = request
            self._tell(self.scheduler.handle(Arrived(request, 0.0)))

    def _force(self) -> None:
        rng, scheduler, memory = self.rng, self.scheduler, self.scheduler.memory
        if scheduler.running and rng.random() < self.preempt_probability:
            scheduler.preempt(rng.choice(scheduler.running))
            self.forced["preemption"] += 1
        half_scored = [sequence for sequence in scheduler.running if _is_half_scored(sequence)]
        if half_scored and rng.random() < 8 * self.preempt_probability:  # there are few of them
            scheduler.preempt(rng.choice(half_scored))
            self.forced["preemption amid prompt scores"] += 1
        for kind, event in ((AdapterState, "adapter eviction"), (PrefixNode, "KV eviction")):
            idle = [state for state in memory.room.idle() if isinstance(state, kind)]
            if idle and rng.random() < self.evict_probability:
                self.forced[event] += 1
                on_host = [state for state in idle if state.host is not None]
                memory.room.evict(rng.choice(on_host or idle))
        self._evict_from_host()

    def _evict_from_host(self) -> None:
        host = self.scheduler.memory.host
        events = {AdapterState: "host eviction of an adapter", PrefixNode: "host eviction of KV"}
        idle = [copy for copy in host.idle() if isinstance(copy, HostCopy)]
        for kind, event in events.items():
            found = [copy for copy in idle if isinstance(copy.of, kind)]
            if found and self.rng.random() < self.evict_probability / 2:
                self.forced[event] += 1
                host.evict(self.rng.choice(found))

    def _abort(self, when: str) -> None:
        if self.unfinished and self.rng.random() < self.abort_probability:
            request_id = self.rng.choice(list(self.unfinished))
            self.forced[when] += 1
            self._tell(self.scheduler.handle(Aborted(request_id)))

    def _tell(self, outputs: Iterable[TokenOutput]) -> None:
        for output in outputs:
            if output.finish_reason is not None:
                del self.unfinished[output.request_id]
            self.forced["prefix hit"] += output.index == 0 and output.num_cached_tokens > 0
            if self.agents is not None:
                self.agents.hear(output)
            self.on_output(output)


def _is_half_scored(sequence: Sequence) -> bool:
    """Some of its prompt logprobs are known and some are missing."""
    return 0 < len(sequence.prompt_logprobs) < len(sequence.request.prompt) - 1
