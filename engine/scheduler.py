"""What runs in the next step: events in, one plan out. No clock, no device, no waiting."""

from collections import Counter
from collections.abc import Iterator

from msgspec.structs import asdict

from motet.engine.admission import Admission
from motet.engine.commands import Commands
from motet.engine.config import BatchConfig
from motet.engine.deadlines import Deadlines
from motet.engine.lengths import LengthEstimator
from motet.engine.messages import Aborted, Arrived, Event, StepFinished, Tick
from motet.engine.output import EngineStats, FinishReason, TokenLogprobs, TokenOutput
from motet.engine.plan import Row, SampledToken, StepPlan, StepResult
from motet.engine.policy import SchedulingPolicy
from motet.engine.queue import WaitingQueue
from motet.engine.refusal import refusal
from motet.engine.request import Request
from motet.engine.running import RunningSet
from motet.engine.sequence import Sequence, SequenceState
from motet.engine.step_builder import StepBuilder
from motet.engine.thrash import ThrashGuard
from motet.errors import BrokenInvariant
from motet.memory.adapter_cache import Failure
from motet.memory.agreement import must_agree
from motet.memory.manager import Arrival, Changes, MemoryManager
from motet.memory.transition import move

FINISHED = SequenceState.FINISHED
"""Asked for each row: taken from the enum, it would cost as much as a call."""

Outputs = tuple[TokenOutput, ...]


class Scheduler:
    """Continuous batching over one page pool.

    `handle` takes events at any time and returns what clients should hear. `plan` is asked for
    while no step is in flight; the result of a plan with rows must be handed back as
    `StepFinished`. The same events give the same plans.
    """

    def __init__(
        self,
        batch: BatchConfig,
        max_model_len: int,
        memory: MemoryManager,
        policy: SchedulingPolicy,
    ) -> None:
        self.memory = memory
        self._max_batch_tokens = batch.max_batch_tokens
        self._max_model_len = max_model_len
        self._policy = policy
        self._lengths = LengthEstimator()
        self._deadlines = Deadlines()
        self._sequences: dict[str, Sequence] = {}  # unfinished
        self._queue = WaitingQueue(memory.adapters)
        max_rows = min(batch.max_batch_rows, batch.max_batch_tokens)  # a row takes a token
        self._running = RunningSet(memory, batch.max_batch_adapters, max_rows)
        self._guard = ThrashGuard(max_rows)
        self._admission = Admission(memory, self._queue, self._running, self._lengths, self._guard)
        self.commands = Commands(memory, self._running, max_model_len)
        self._in_flight: dict[Sequence, Row] = {}
        self._is_stalled = False
        """Who runs has no room before something has come that is on its way."""
        self._idle_since_s: float | None = None
        """When a turn had nothing to compute although somebody waited."""
        self._num_arrived = self._num_steps = self._num_preemptions = 0
        self._num_query_tokens = self._num_hit_tokens = self._num_recomputed_tokens = 0
        self._num_state_waits = 0
        self._state_wait_s = 0.0

    @property
    def running(self) -> tuple[Sequence, ...]:
        """Sequences that may have a row in the next step."""
        return tuple(self._running)

    @property
    def has_work(self) -> bool:
        """Is any request unfinished, or anything else under way?"""
        return bool(self._sequences) or self.memory.is_busy or self.commands.are_waiting

    def wait_s(self, now: float) -> float | None:
        """Seconds until `plan` may have rows without any other event; None: never.

        Raises BrokenInvariant where requests would wait for ever.
        """
        if (self._running and not self._is_stalled) or not self._admission.is_vain:
            return 0.0
        times = [self._deadlines.next_s(), self.memory.next_due_s]
        due = [time for time in times if time is not None]
        if not due and self._sequences:
            raise BrokenInvariant(f"{len(self._sequences)} requests wait for nothing")
        return max(0.0, min(due) - now) if due else None

    def handle(self, event: Event) -> Outputs:
        """Take note of what happened. Never fails on input: a bad request is refused."""
        match event:
            case Arrived(request, now):
                return self._arrive(request, now)
            case Aborted(request_id):
                sequence = self._sequences.get(request_id)
                return (self._finish(sequence, FinishReason.ABORT),) if sequence else ()
            case StepFinished(result, _):
                return self._finish_step(result)
            case Tick(now):
                late = [self._finish_late(sequence) for sequence in self._deadlines.passed(now)]
                return (*late, *self._hear(self.memory.tick(now)))
            case _:
                return self._hear(self.memory.ended(event))

    def tell_time(self, now: float) -> None:
        """How long things take is measured by this. Nobody is late because of it, as with Tick."""
        self.memory.tell_time(now)

    def plan(self) -> StepPlan:
        """The next step: rows that already run first, decodes before prefills, then new ones."""
        assert not self._in_flight, "the previous step has not finished"
        builder = StepBuilder(self._max_batch_tokens)
        self._continue_running(builder)
        started = self._admission.admit(builder)
        num_again = sum(self._count_start(sequence) for sequence in started)
        self._in_flight = builder.rows()
        self._watch_thrash(self._max_batch_tokens - builder.budget, num_again)
        self._is_stalled = not self._in_flight and len(self._running) > 0
        self._num_steps += bool(self._in_flight)
        self.memory.use_links(None if self._admission.is_short else self._admission.num_growing)
        plan = builder.plan(self._num_steps, self._in_flight, self.memory)
        for digest in plan.transfers.forgotten:
            self._lengths.forget(digest)
        return plan

    def preempt(self, sequence: Sequence) -> None:
        """Take everything from a running sequence; it waits again in its old place."""
        assert not self._in_flight
        self._running.let_go(sequence)
        move(sequence, SequenceState.WAITING)
        sequence.num_lost, sequence.num_computed = sequence.num_computed, 0
        sequence.num_preemptions += 1
        self._num_preemptions += 1
        self._queue.add(sequence)

    def stats(self) -> EngineStats:
        return EngineStats(
            **asdict(self.memory.counts()),
            num_running=len(self._running),
            num_waiting=len(self._queue),
            num_waiting_for_state=self._queue.num_waiting_for_adapters
            + len(self._admission.restoring),
            state_waits=self._num_state_waits,
            state_wait_s=self._state_wait_s,
            recomputed_tokens=self._num_recomputed_tokens,
            preemptions=self._num_preemptions,
            prefix_query_tokens=self._num_query_tokens,
            prefix_hit_tokens=self._num_hit_tokens,
            steps=self._num_steps,
        )

    def check(self) -> None:
        """Raise BrokenInvariant where two views of the same fact disagree."""
        self.memory.check()
        waiting = {s for s in self._sequences.values() if s.state is SequenceState.WAITING}
        running = {s for s in self._sequences.values() if s.state is SequenceState.RUNNING}
        must_agree("waiting sequences", set(self._queue), waiting)
        must_agree("number of them", len(self._queue), len(waiting))
        must_agree("running sequences", set(self._running), running)
        leaving = [s for s in self._in_flight if s.state is FINISHED]
        self._running.check(leaving)
        for adapter in self.memory.adapters.states():
            first = self._queue.first(adapter)
            must_agree(f"who wants {adapter}", adapter.waited, first.rank if first else None)
        generations = [s.generation for s in (*self._sequences.values(), *leaving) if s.generation]
        for generation in self.memory.registry:
            num_requests = generations.count(generation)
            must_agree(f"requests on {generation}", generation.num_requests, num_requests)
        calls = Counter(s.agent for s in (*self._sequences.values(), *leaving) if s.agent)
        for agent in self.memory.agents:
            must_agree(f"calls of {agent}", agent.num_running, calls.pop(agent, 0))
        must_agree("calls of agents that are forgotten", calls, Counter())
        for sequence in waiting:
            must_agree(f"{sequence} has pages", sequence.table is not None, False)

    # What happened.

    def _arrive(self, request: Request, now: float) -> Outputs:
        registry = self.memory.registry
        generation = registry.find(request.adapter) if request.adapter else None
        if request.adapter is not None and generation is None:
            gone = f"adapter '{request.adapter.name}' is not loaded: load it, or choose another"
            return (_end(request.request_id, FinishReason.ERROR, gone, kind="ModelNotFound"),)
        adapter = generation.state if generation else None
        error = refusal(request, adapter, self._max_model_len, self.memory)
        if error is None and request.request_id in self._sequences:
            error = f"request id '{request.request_id}' is in use: choose another one"
        if error is not None:
            return (_end(request.request_id, FinishReason.REFUSED, error),)
        self._num_arrived += 1
        rank = self._policy.rank(request, self._num_arrived)
        sequence = Sequence(request, rank, generation, adapter, arrived_s=now)
        self._sequences[request.request_id] = sequence
        self._deadlines.add(sequence)
        if generation is not None:
            registry.arrived(generation)
        name = request.adapter.name if request.adapter else None
        sequence.agent = self.memory.arrived(adapter, name, request.agent)
        self._name_kv(sequence)
        self._queue.add(sequence)
        return ()

    def _name_kv(self, sequence: Sequence) -> None:
        """Say where its KV is found, as soon as that is known."""
        adapter = sequence.adapter
        if adapter is None or adapter.digest is not None:
            salt = sequence.request.cache_salt
            sequence.namespace = self.memory.namespace(adapter, salt)

    def _finish_step(self, result: StepResult) -> Outputs:
        assert self._in_flight and result.step == self._num_steps
        rows, self._in_flight = self._in_flight, {}
        tokens, scored = iter(result.tokens), iter(result.scores)
        outputs: list[TokenOutput] = []
        for sequence, row in rows.items():
            token = next(tokens) if row.sampling else None
            assert token is None or token.request_id == row.request_id
            scores = next(scored).logprobs if row.targets else ()
            if sequence.state is FINISHED:  # aborted while the step ran
                self._running.let_go(sequence)
                self._leave(sequence)
                continue
            outputs += self._advance(sequence, row, token, scores)
        self._policy.served(rows)
        return tuple(outputs)

    def _advance(
        self,
        sequence: Sequence,
        row: Row,
        token: SampledToken | None,
        scores: tuple[TokenLogprobs, ...] | None,
    ) -> Outputs:
        table = sequence.table
        assert table is not None
        if scores is None or (token is not None and token.token_id is None):
            output = self._finish(sequence, FinishReason.OVERFLOW, _overflow(sequence.request))
            self.memory.kv.forget(table)  # earlier chunks may be no better than this one
            return (output,)
        sequence.num_computed = row.end
        self.memory.kv.seal(table, sequence.tokens, sequence.num_computed)
        news = sequence.advance(token, scores)
        if news is None:
            return ()
        if news.finish_reason is not None:
            self._finish(sequence, news.finish_reason)
        return (news,)

    def _finish_late(self, sequence: Sequence) -> TokenOutput:
        return self._finish(
            sequence, FinishReason.TIMEOUT, "the deadline of the request has passed"
        )

    def _hear(self, changes: Changes) -> Outputs:
        """Tell those who wait for adapters what has become of them."""
        outputs = [
            self._finish(sequence, FinishReason.ERROR, *_stranded(sequence.request, failure))
            for failure in changes.failures
            for sequence in self._queue.waiting_for(failure.adapter)
        ]
        if changes.arrival is not None:
            outputs += self._recognise(changes.arrival)
        return tuple(outputs)

    def _recognise(self, arrival: Arrival) -> Iterator[TokenOutput]:
        """More is known of an adapter: what it is, and how large."""
        if arrival.known is not arrival.read:
            self._queue.move(arrival.read, arrival.known)
        for sequence in self._queue.waiting_for(arrival.known):
            self._name_kv(sequence)
            request, adapter = sequence.request, sequence.adapter
            error = refusal(request, adapter, self._max_model_len, self.memory)
            if error is not None:
                yield self._finish(sequence, FinishReason.REFUSED, error)

    def _finish(
        self,
        sequence: Sequence,
        reason: FinishReason,
        error: str | None = None,
        kind: str | None = None,
    ) -> TokenOutput:
        was_waiting = sequence.state is SequenceState.WAITING
        move(sequence, FINISHED)
        del self._sequences[sequence.request.request_id]
        if was_waiting:
            self._queue.abort(sequence)
            self._admission.restoring.pop(sequence, None)
            self.memory.kv.let_go(sequence.prefix, sequence.rank)
            self._leave(sequence)
        elif sequence in self._in_flight:
            self._running.abandon(sequence)
        else:
            self._running.let_go(sequence)
            self._leave(sequence)
        if reason in (FinishReason.STOP, FinishReason.LENGTH) and sequence.num_generated > 0:
            self._lengths.finished(sequence.adapter_digest, sequence.num_generated)
        return _end(sequence.request.request_id, reason, error, sequence.num_generated, kind)

    def _leave(self, sequence: Sequence) -> None:
        """It holds nothing any more."""
        if sequence.generation is not None:
            self.memory.registry.finished(sequence.generation)
        if sequence.agent is not None:
            assert sequence.request.agent is not None
            self.memory.agents.end(sequence.agent, sequence.request.agent)

    # What to do next.

    def _watch_thrash(self, num_tokens: int, num_again: int) -> None:
        """A step computes so many tokens, and so many of what begins in it were computed before."""
        now = self.memory.time.now
        num_idle = 0.0
        if self._idle_since_s is not None:
            num_idle = (now - self._idle_since_s) / self.memory.token_s
        self._idle_since_s = now if not self._in_flight and len(self._queue) else None
        if self._in_flight or num_idle:
            self._guard.step(max(0, num_tokens - num_again), num_again + num_idle)

    def _count_start(self, sequence: Sequence) -> int:
        """What it found in the prefix index, once for each request, and what it waited for.

        How many of its tokens were computed before and are lost.
        """
        agent, num_lost = sequence.agent, sequence.num_lost
        if sequence.num_cached is None and agent is not None:
            num_lost = min(agent.num_kept * self.memory.kv.page_tokens, len(sequence.tokens))
        if sequence.num_cached is None:
            sequence.num_cached = sequence.num_computed
            self._num_query_tokens += len(sequence.tokens)
            self._num_hit_tokens += sequence.num_computed
        self._num_recomputed_tokens += max(0, sequence.num_lost - sequence.num_computed)
        wait_s = sequence.end_state_wait(self.memory.copies.now)
        self._num_state_waits += wait_s > 0
        self._state_wait_s += wait_s
        if agent is not None:
            self.memory.agents.waited(agent, wait_s)
        return max(0, num_lost - sequence.num_computed)

    def _continue_running(self, builder: StepBuilder) -> None:
        pending = [(sequence, sequence.num_pending) for sequence in self._running.in_order()]
        pending.sort(key=_is_prefill)
        for sequence, num_pending in pending:
            num_tokens = min(num_pending, builder.budget)
            if num_tokens == 0:
                return
            if sequence not in self._running:  # preempted for one before it
                continue
            if self._make_room(sequence, sequence.num_computed + num_tokens, builder):
                builder.add(sequence, num_tokens)

    def _make_room(self, sequence: Sequence, num_tokens: int, builder: StepBuilder) -> bool:
        """Pages for the first `num_tokens` positions, preempting others where it must."""
        assert sequence.table is not None
        while not self.memory.kv.grow(sequence.table, num_tokens):
            if self.memory.write_back_for(sequence.table, num_tokens):
                return self.memory.kv.grow(sequence.table, num_tokens)  # perhaps nothing has to be
            victim = self._running.victim(self._policy)
            if victim is None and self.memory.hurry(sequence.table, num_tokens):
                return False
            victim = victim or sequence  # the rest is kept for one before it that waits
            builder.discard(victim)
            self.preempt(victim)
            if victim is sequence:
                return False
        return True


def _is_prefill(pending: tuple[Sequence, int]) -> bool:
    return pending[1] > 1


def _overflow(request: Request) -> str:
    whose = f"adapter '{request.adapter.name}'" if request.adapter else "the model"
    return f"the output of {whose} is not finite for this prompt: its weights are too large"


def _stranded(request: Request, failure: Failure) -> tuple[str, str | None]:
    """What a request hears whose adapter does not come, and whose fault that is, if not ours."""
    assert request.adapter is not None
    name = request.adapter.name
    if failure.kind == "Unavailable":
        return f"adapter '{name}' has not come to the device: {failure.error}; try again", None
    return f"adapter '{name}' cannot be served: {failure.error}", failure.kind


def _end(
    request_id: str,
    reason: FinishReason,
    error: str | None = None,
    index: int = 0,
    kind: str | None = None,
) -> TokenOutput:
    return TokenOutput(request_id, index, None, finish_reason=reason, error=error, error_kind=kind)
