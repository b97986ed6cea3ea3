"""One arm of a replay: the world of a trace around an engine."""

import heapq
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain, count

from motet.bench.replay.announced import TENANT, Announcements, Gaps
from motet.bench.replay.arm import Arm
from motet.bench.replay.costs import CostModel
from motet.bench.replay.latency import Latency
from motet.bench.replay.stage import Stage, fill_host
from motet.bench.replay.state import TraceState
from motet.client.workloads.trace import Call as TraceCall
from motet.client.workloads.trace import Push, Trace
from motet.engine.config import BatchConfig
from motet.engine.messages import Arrived, Call, PushDistances, TickAgents
from motet.engine.output import TokenOutput
from motet.engine.request import Request, SamplingParams
from motet.errors import EngineFailed
from motet.memory.agent import Unit
from motet.memory.manager import MemoryManager

PATIENCE_TURNS = 100_000
"""After so many turns without a token the engine has come to a halt."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all arms of a replay have in common."""

    trace: Trace
    cost: CostModel
    state: TraceState
    page_tokens: int
    num_pages: int
    num_host_pages: int
    batch: BatchConfig
    seed: int = 0

    @property
    def page_bytes(self) -> int:
        return self.cost.model.layout(self.page_tokens).page_bytes


@dataclass(slots=True)
class Run:
    """A trace on its way through an engine."""

    setting: Setting
    arm: Arm
    stage: Stage
    progress: Callable[[float], None] = lambda share: None
    latency: Latency = field(default_factory=Latency)
    stall_s: float = 0.0
    """In which nothing was computed although somebody waited."""
    num_expected_tokens: int = 0
    """Of prompts, in whole pages, that an earlier call of the agent had computed; found again:"""
    num_found_tokens: int = 0
    _announced: Announcements = field(init=False)
    _unfinished: dict[str, TraceCall] = field(default_factory=dict)
    _arrived_s: dict[str, float] = field(default_factory=dict)
    _waits_for: dict[int, int] = field(default_factory=dict)
    """Call -> calls that must have finished before."""
    _followers: defaultdict[int, list[TraceCall]] = field(default_factory=lambda: defaultdict(list))
    _due: list[tuple[float, int, TraceCall]] = field(default_factory=list)
    """Heap of calls in time."""
    _call_ids: "count[int]" = field(default_factory=count)
    _num_idle_turns: int = 0
    """In a row."""

    def __post_init__(self) -> None:
        setting = self.setting
        rng, gaps = random.Random(setting.seed), Gaps.of(setting.trace.calls)
        self._announced = Announcements(self.arm, setting.state, gaps, rng)

    def go(self) -> None:
        """All of it."""
        fill_host(self.stage)
        header = self.setting.trace.header
        if header.steps is not None:
            self._run_steps(header.steps)
        else:
            self._run_time()

    @property
    def memory(self) -> MemoryManager:
        return self.stage.core.scheduler.memory

    # The world.

    def _run_steps(self, num_steps: int) -> None:
        calls: defaultdict[int, list[TraceCall]] = defaultdict(list)
        for call in self.setting.trace.calls:
            assert call.step is not None
            calls[call.step].append(call)
        pushes = {push.push: push for push in self.setting.trace.pushes}
        finished: set[int] = set()
        for step in range(num_steps):
            self._push(pushes.get(step))
            for call in calls[step]:
                self._wait_or_arrive(call, finished)
            while self._unfinished:
                finished.update(self._turn(None))
            self._tell(TickAgents(TENANT))
            self.progress((step + 1) / num_steps)

    def _run_time(self) -> None:
        calls = self.setting.trace.calls
        for call in calls:
            self._wait_for(call, call.after)
        num_finished = 0
        while self._due or self._unfinished:
            while self._due and self._due[0][0] <= self.stage.now:
                self._arrive(heapq.heappop(self._due)[2])
            until = self._due[0][0] if self._due else None
            num_finished += len(self._turn(until))
            self.progress(num_finished / len(calls))

    def _wait_or_arrive(self, call: TraceCall, finished: set[int]) -> None:
        missing = [before for before in call.after if before not in finished]
        if missing:
            self._wait_for(call, missing)
        else:
            self._arrive(call)

    def _wait_for(self, call: TraceCall, calls: Iterable[int]) -> None:
        self._waits_for[call.call_id] = 0
        for before in calls:
            self._waits_for[call.call_id] += 1
            self._followers[before].append(call)
        if not self._waits_for[call.call_id]:
            self._come(call)

    def _come(self, call: TraceCall) -> None:
        """All that it waits for has finished."""
        if call.step is not None:
            self._arrive(call)
            return
        since_s = self.stage.now + call.delay_s if call.after else call.delay_s
        at_s = max(since_s, call.arrival_s or 0.0)
        heapq.heappush(self._due, (at_s, call.call_id, call))

    # The engine.

    def _turn(self, until_s: float | None) -> list[int]:
        """One turn; where it would wait, time passes, but not beyond `until_s`. Who finished."""
        stage = self.stage
        core, asked_s = stage.core, stage.now
        messages = stage.take(core.scheduler.wait_s(asked_s), until_s)
        busy_s, is_waited_for = stage.busy_s, bool(self._unfinished)
        report = core.turn(messages, stage.now)
        if stage.busy_s == busy_s:
            stage.rest()
        if is_waited_for:
            self.stall_s += stage.now - asked_s - (stage.busy_s - busy_s)
        self._num_idle_turns = 0 if report.outputs else self._num_idle_turns + 1
        if self._num_idle_turns > PATIENCE_TURNS:
            raise EngineFailed(
                f"no token in {PATIENCE_TURNS:,} turns, and {len(self._unfinished)} calls wait"
            )
        return [call_id for output in report.outputs for call_id in self._hear(output)]

    def _hear(self, output: TokenOutput) -> Iterable[int]:
        request_id = output.request_id
        if output.index == 0:
            self.latency.first_token(self.stage.now - self._arrived_s[request_id])
            expected = self._expected_tokens(int(request_id))
            self.num_found_tokens += min(output.num_cached_tokens, expected)
        if output.finish_reason is None:
            return ()
        if output.error is not None:
            raise EngineFailed(f"call {request_id}: {output.error}")
        call = self._unfinished.pop(request_id)
        self.latency.finished(call.agent, self.stage.now - self._arrived_s.pop(request_id))
        del self.stage.answers[request_id]
        self._announce_in_time(call)
        for follower in self._followers.pop(call.call_id, ()):
            self._waits_for[follower.call_id] -= 1
            if not self._waits_for[follower.call_id]:
                self._come(follower)
        return (call.call_id,)

    def _arrive(self, call: TraceCall) -> None:
        request_id = str(call.call_id)
        self._unfinished[request_id] = call
        self._arrived_s[request_id] = self.stage.now
        self.stage.answers[request_id] = self.stage.tokens(call.output)
        self.num_expected_tokens += self._expected_tokens(call.call_id)
        adapters = self.memory.registry
        request = Request(
            request_id,
            tuple(chain.from_iterable(map(self.stage.tokens, call.prompt))),
            SamplingParams(max_tokens=call.output.num_tokens, temperature=0.0),
            adapters.current(call.adapter).adapter if call.adapter else None,
            agent=self._announced.with_call(call),
        )
        self.stage.core.inbox.put(Arrived(request, self.stage.now))

    def _expected_tokens(self, call_id: int) -> int:
        """Of its prompt, in whole pages."""
        page_tokens = self.setting.page_tokens
        return self.setting.state.expected_tokens[call_id] // page_tokens * page_tokens

    # What is announced.

    def _announce_in_time(self, call: TraceCall) -> None:
        """Who calls at given times is away for what is left until then."""
        away = self._announced.after_call(call)
        if away is not None and call.arrival_s is not None:
            left_s = max(0.0, call.arrival_s + away - self.stage.now)
            self._tell(PushDistances(TENANT, ((call.agent, left_s),), Unit.SECONDS))

    def _push(self, push: Push | None) -> None:
        distances = self._announced.push(push) if push is not None else ()
        if distances:
            self._tell(PushDistances(TENANT, distances))

    def _tell(self, command: PushDistances | TickAgents) -> None:
        self.stage.core.inbox.put(Call(next(self._call_ids), command))
