"""Any order of events leaves scheduler and memory consistent, and every request ends."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from motet.engine.admission import MAX_PREEMPTIONS
from motet.engine.lengths import ENOUGH
from motet.engine.messages import Aborted, Arrived, StepFinished, Tick
from motet.engine.output import FinishReason, TokenOutput
from motet.engine.plan import Batch
from motet.memory.adapter import Adapter
from motet.memory.copies import PATIENCE_S
from motet.memory.copy import Copy, CopyEnded, Ticket
from motet.memory.costs import Costs
from tests.engine.factories import KV_IS_DROPPED, a_request, a_scheduler, an_adapter, an_executor

ADAPTERS = [an_adapter(f"a{i}", num_pages=1 + i) for i in range(4)]


class SchedulerMachine(RuleBasedStateMachine):
    costs = KV_IS_DROPPED

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = a_scheduler(
            num_pages=18,
            max_batch_tokens=10,
            max_batch_rows=4,
            max_batch_adapters=2,
            max_model_len=40,
            adapters=ADAPTERS,
            costs=self.costs,
        )
        for _ in range(ENOUGH):  # expects short outputs, admits too many and has to preempt
            self.scheduler._lengths.finished(None, 1)
        self.executor = an_executor(self.scheduler)
        self.now = 0.0
        self.under_way: dict[Ticket, Copy] = {}
        self.ended: list[CopyEnded] = []
        self.in_flight: Batch | None = None
        self.num_tokens: dict[str, int] = {}  # of unfinished requests
        self.num_scores: dict[str, int] = {}  # prompt logprobs that each of them wants

    @rule(
        prompt=st.lists(st.integers(0, 1), min_size=1, max_size=24),
        max_tokens=st.integers(0, 30),
        adapter=st.sampled_from([None, *ADAPTERS]),
        is_scored=st.booleans(),
    )
    def arrive(
        self, prompt: list[int], max_tokens: int, adapter: Adapter | None, is_scored: bool
    ) -> None:
        num_prompt_logprobs = 0 if is_scored else None
        request = a_request(prompt, max_tokens, adapter, num_prompt_logprobs=num_prompt_logprobs)
        self.num_tokens[request.request_id] = 0
        self.num_scores[request.request_id] = len(prompt) - 1 if is_scored else 0
        self.hear(self.scheduler.handle(Arrived(request, 0.0)))

    @precondition(lambda self: self.in_flight is None and self.scheduler.has_work)
    @rule()
    def plan(self) -> None:
        running = self.scheduler.running
        plan = self.scheduler.plan()
        if running:
            first = min(running, key=lambda sequence: sequence.rank)
            waiting = [s for s in self.scheduler._sequences.values() if s not in running]
            # Whoever else was preempted; it makes way itself for one before it alone.
            is_behind = any(sequence.rank < first.rank for sequence in waiting)
            assert first in self.scheduler.running or is_behind
        self.under_way |= {copy.ticket: copy for copy in plan.transfers.copies}
        for ticket in plan.transfers.cancelled:
            assert ticket in self.under_way or ticket in {end.ticket for end in self.ended}
        batch = plan.batch
        self.in_flight = batch if batch.rows else None
        assert sum(len(row.tokens) for row in batch.rows) <= 10
        assert len(batch.rows) <= 4
        assert len(batch.adapters) <= 2
        assert {row.slot for row in batch.rows} - {-1} == {b.slot for b in batch.adapters}

    @precondition(lambda self: self.in_flight is not None)
    @rule()
    def finish_step(self) -> None:
        assert self.in_flight is not None
        result = self.executor.execute(self.in_flight)
        self.in_flight = None
        self.hear(self.scheduler.handle(StepFinished(result, 0.0)))

    @precondition(lambda self: self.under_way)
    @rule(choice=st.integers(0, 100), outcome=st.sampled_from(["whole", "whole", "part", "error"]))
    def end_copy(self, choice: int, outcome: str) -> None:
        copy = list(self.under_way.values())[choice % len(self.under_way)]
        del self.under_way[copy.ticket]
        num_pages = len(copy.pages) if outcome == "whole" else choice % len(copy.pages)
        end = CopyEnded(copy.ticket, num_pages, "broken" if outcome == "error" else None)
        self.ended.append(end)
        self.hear(self.scheduler.handle(end))

    @precondition(lambda self: self.ended)
    @rule(choice=st.integers(0, 100))
    def end_copy_again(self, choice: int) -> None:
        before = self.scheduler.stats()
        assert self.scheduler.handle(self.ended[choice % len(self.ended)]) == ()
        assert self.scheduler.stats() == before

    @rule(seconds=st.sampled_from([0.1, PATIENCE_S]))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds
        self.hear(self.scheduler.handle(Tick(self.now)))

    @precondition(lambda self: self.num_tokens)
    @rule(choice=st.integers(0, 100))
    def abort(self, choice: int) -> None:
        ids = list(self.num_tokens)
        self.hear(self.scheduler.handle(Aborted(ids[choice % len(ids)])))

    @invariant()
    def all_views_agree(self) -> None:
        self.scheduler.check()

    @invariant()
    def preemptions_are_bounded(self) -> None:
        for sequence in self.scheduler._sequences.values():
            assert sequence.num_preemptions <= MAX_PREEMPTIONS

    def teardown(self) -> None:
        """Without new events everything ends, in a bounded number of steps."""
        if self.in_flight is not None:
            self.finish_step()
        num_turns = 0
        while self.scheduler.has_work:
            self.plan()
            if self.in_flight is not None:
                self.finish_step()
            else:
                assert self.under_way, "requests wait for nothing"
            while self.under_way:
                self.end_copy(0, "whole")
            num_turns += 1
            assert num_turns < 100 * (1 + len(self.num_tokens)) + 2000
        assert not self.num_tokens
        room = self.scheduler.memory.room
        assert room.pool.num_free + room.num_idle_pages == room.pool.num_pages

    def hear(self, outputs: tuple[TokenOutput, ...]) -> None:
        for output in outputs:
            if output.token_id is not None:
                assert output.index == self.num_tokens[output.request_id]
                self.num_tokens[output.request_id] += 1
            if output.index == 0 and output.finish_reason in (None, FinishReason.LENGTH):
                assert len(output.prompt_logprobs) == self.num_scores[output.request_id]
            if output.finish_reason is not None:
                del self.num_tokens[output.request_id]  # exactly one end


class ForcedPreemptionMachine(SchedulerMachine):
    """With preemptions out of nowhere, which no bound holds for, and KV that goes to the host."""

    costs = Costs()

    @precondition(lambda self: self.in_flight is None and self.scheduler.running)
    @rule(choice=st.integers(0, 100))
    def preempt(self, choice: int) -> None:
        running = self.scheduler.running
        self.scheduler.preempt(running[choice % len(running)])

    def preemptions_are_bounded(self) -> None:
        pass


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(deadline=None, stateful_step_count=60)
TestForcedPreemptionMachine = ForcedPreemptionMachine.TestCase
TestForcedPreemptionMachine.settings = settings(deadline=None, stateful_step_count=60)
