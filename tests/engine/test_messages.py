"""Everything that crosses a border is plain data: msgpack and back gives the same value."""

import msgspec
import pytest

from motet.engine.events import Aborted, AdapterRegistered, Arrived, StepFinished
from motet.engine.output import (
    EngineStats,
    FinishReason,
    StepReport,
    TokenLogprobs,
    TokenOutput,
)
from motet.engine.plan import PromptScores, SampledToken, StepPlan, StepResult
from tests.engine.factories import a_request, a_scheduler, an_adapter

A_LOGPROB = TokenLogprobs(-1.5, ((5, -0.5), (6, -1.5)))


def a_plan() -> StepPlan:
    adapter = an_adapter()
    requests = [
        a_request(),
        a_request(adapter=adapter),
        a_request(num_prompt_logprobs=2, presence_penalty=0.5, logit_bias=((7, -1.5),)),
    ]
    return a_scheduler(adapters=[adapter], requests=requests).plan(0.0)


@pytest.mark.parametrize(
    "message",
    [
        Arrived(a_request(adapter=an_adapter()), 1.5),
        Aborted("r1"),
        AdapterRegistered(an_adapter()),
        StepFinished(
            StepResult(
                step=1,
                tokens=(SampledToken("r1", 5, -0.5, ((5, -0.5),)), SampledToken("r2", None)),
                loaded=("digest",),
                scores=(PromptScores("r1", (A_LOGPROB,)), PromptScores("r2", None)),
            ),
            2.0,
        ),
        StepReport(
            (
                TokenOutput("r1", 0, None, finish_reason=FinishReason.ERROR, error="x"),
                TokenOutput("r2", 0, 5, prompt_logprobs=(A_LOGPROB,)),
            ),
            EngineStats(num_running=1),
        ),
        a_plan(),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_survives_the_wire(message: object) -> None:
    wire = msgspec.msgpack.encode(message)
    assert msgspec.msgpack.decode(wire, type=type(message)) == message
