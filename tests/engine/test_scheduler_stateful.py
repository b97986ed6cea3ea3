"""Any order of events leaves the scheduler consistent, and everything admitted ends."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from motet.engine.events import Aborted, Arrived, StepFinished
from motet.engine.lengths import ENOUGH
from motet.engine.output import FinishReason, TokenOutput
from motet.engine.plan import StepPlan
from motet.engine.scheduler import MAX_PREEMPTIONS
from motet.memory.adapter import Adapter
from tests.engine.factories import a_request, a_scheduler, an_adapter, an_executor

ADAPTERS = [an_adapter(f"a{i}", num_pages=1 + i) for i in range(4)]


class SchedulerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.scheduler = a_scheduler(
            num_pages=18,
            max_batch_tokens=10,
            max_batch_rows=4,
            max_batch_adapters=2,
            max_model_len=40,
            adapters=ADAPTERS,
        )
        for _ in range(ENOUGH):  # expects short outputs, admits too many and has to preempt
            self.scheduler._lengths.finished(None, 1)
        self.executor = an_executor(self.scheduler, load_steps=1)
        self.in_flight: StepPlan | None = None
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
        admitted = [s for s in self.scheduler._admitted]
        self.in_flight = self.scheduler.plan(0.0)
        if admitted:
            oldest = min(admitted, key=lambda sequence: sequence.arrival)
            assert oldest in self.scheduler._admitted  # whoever else was preempted
        batch = self.in_flight.batch
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
            self.finish_step()
            num_turns += 1
            assert num_turns < 100 * (1 + len(self.num_tokens)) + 2000
        assert not self.num_tokens
        memory = self.scheduler.memory
        assert memory.pool.num_free + memory.num_idle_pages == memory.pool.num_pages

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
    """With preemptions out of nowhere, which no bound holds for."""

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
