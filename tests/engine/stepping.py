"""A scheduler step by step, each answered at once."""

from motet.engine.messages import StepFinished
from motet.engine.output import TokenLogprobs, TokenOutput
from motet.engine.plan import PromptScores, Row, SampledToken, StepPlan, StepResult
from motet.engine.scheduler import Scheduler
from motet.memory.adapter_cache import AdapterState
from motet.memory.copy import CopyEnded


def finish(scheduler: Scheduler, plan: StepPlan, token: int | None = 5) -> list[TokenOutput]:
    """Answer a plan: every copy is complete, every sampling row gets the same token, every target
    the logprob minus its token."""
    outputs: list[TokenOutput] = []
    rows = plan.batch.rows
    if rows:
        tokens = tuple(SampledToken(row.request_id, token) for row in rows if row.sampling)
        scores = tuple(scores_of(row) for row in rows if row.targets)
        result = StepResult(plan.batch.step, tokens, scores)
        outputs += scheduler.handle(StepFinished(result, 0.0))
    for copy in plan.transfers.copies:
        outputs += scheduler.handle(CopyEnded(copy.ticket, len(copy.pages)))
    scheduler.check()
    return outputs


def scores_of(row: Row) -> PromptScores:
    assert row.targets is not None
    return PromptScores(row.request_id, tuple(TokenLogprobs(-t, ()) for t in row.targets.tokens))


def step(scheduler: Scheduler, token: int | None = 5) -> tuple[StepPlan, list[TokenOutput]]:
    plan = scheduler.plan()
    return plan, finish(scheduler, plan, token)


def loads(scheduler: Scheduler, plan: StepPlan) -> list[str | None]:
    """Digests of the adapters that a plan begins to bring; asked before it is answered."""
    tickets = {copy.ticket for copy in plan.transfers.copies}
    begun = [each for each in scheduler.memory.copies if each.work.ticket in tickets]
    states = [state for each in begun for state in each.subjects]
    return [state.digest for state in states if isinstance(state, AdapterState)]


def rows(plan: StepPlan) -> list[tuple[str, int, int]]:
    return [(row.request_id, row.start, row.end) for row in plan.batch.rows]


def ids(plan: StepPlan) -> list[str]:
    return [row.request_id for row in plan.batch.rows]


def run_to_the_end(scheduler: Scheduler) -> tuple[list[StepPlan], list[TokenOutput]]:
    plans: list[StepPlan] = []
    outputs: list[TokenOutput] = []
    while scheduler.has_work:
        plan, told = step(scheduler)
        plans.append(plan)
        outputs += told
    return plans, outputs


def logprobs(outputs: list[TokenOutput]) -> list[list[float]]:
    """Of the prompt, with each output."""
    return [[-one.logprob for one in output.prompt_logprobs] for output in outputs]
