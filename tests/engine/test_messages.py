"""Everything that crosses a border is plain data: msgpack and back gives the same value."""

import msgspec
import pytest

from motet.engine.events import Aborted, AdapterRegistered, Arrived, StepFinished
from motet.engine.output import EngineStats, FinishReason, StepReport, TokenOutput
from motet.engine.plan import SampledToken, StepPlan, StepResult
from tests.engine.factories import a_request, a_scheduler, an_adapter


def a_plan() -> StepPlan:
    adapter = an_adapter()
    requests = [a_request(), a_request(adapter=adapter)]
    return a_scheduler(adapters=[adapter], requests=requests).plan(0.0)


@pytest.mark.parametrize(
    "message",
    [
        Arrived(a_request(adapter=an_adapter()), 1.5),
        Aborted("r1"),
        AdapterRegistered(an_adapter()),
        StepFinished(StepResult(1, (SampledToken("r1", 5, -0.5, ((5, -0.5),)),), ("digest",)), 2.0),
        StepReport(
            (TokenOutput("r1", 0, None, finish_reason=FinishReason.ERROR, error="x"),),
            EngineStats(num_running=1),
        ),
        a_plan(),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_survives_the_wire(message: object) -> None:
    wire = msgspec.msgpack.encode(message)
    assert msgspec.msgpack.decode(wire, type=type(message)) == message
