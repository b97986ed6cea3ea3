"""Everything that crosses a border is plain data: msgpack and back gives the same value."""

import msgspec
import pytest

from motet.engine.messages import (
    Aborted,
    Arrived,
    Call,
    Event,
    Failed,
    ListAdapters,
    LoadAdapter,
    Message,
    News,
    PinAdapter,
    Ready,
    RegisterAdapter,
    Reply,
    Report,
    ResetPrefixCache,
    StepFinished,
    Stop,
    Tick,
    UnloadAdapter,
)
from motet.engine.output import EngineStats, FinishReason, TokenLogprobs, TokenOutput
from motet.engine.plan import PromptScores, SampledToken, StepPlan, StepResult
from motet.memory.adapter import AdapterContent, AdapterNews, AdapterStatus, Standing
from motet.memory.copy import (
    Copy,
    CopyEnded,
    Direction,
    PagePair,
    Read,
    ReadEnded,
    Ticket,
    Transfers,
)
from motet.memory.page import PageId
from motet.memory.residency import Residency
from tests.engine.factories import a_request, a_scheduler, an_adapter, an_info

A_LOGPROB = TokenLogprobs(-1.5, ((5, -0.5), (6, -1.5)))


A_STATUS = AdapterStatus(
    adapter=an_adapter(),
    standing=Standing.CURRENT,
    state=Residency.DUAL,
    is_pinned=True,
    num_waiting=1,
    num_running=2,
    hits=3,
    loads=4,
    evictions=5,
    last_error="it has changed",
)


def a_plan() -> StepPlan:
    adapter = an_adapter()
    requests = [
        a_request(),
        a_request(adapter=adapter),
        a_request(num_prompt_logprobs=2, presence_penalty=0.5, logit_bias=((7, -1.5),)),
    ]
    return a_scheduler(adapters=[adapter], requests=requests).plan()


TO_ENGINE: list[Message | Event] = [
    Arrived(a_request(adapter=an_adapter()), 1.5),
    Aborted("r1"),
    Call(7, RegisterAdapter(an_adapter())),
    Call(8, LoadAdapter("a", "/a", in_place=True, is_pinned=True)),
    Call(9, UnloadAdapter("a")),
    Call(10, PinAdapter("a", False)),
    Call(11, ResetPrefixCache()),
    Call(12, ListAdapters("a", 10, "b")),
    CopyEnded(Ticket(3), 2, "the link has failed"),
    ReadEnded(Ticket(4), AdapterContent(8, 3, "digest")),
    ReadEnded(Ticket(5), None, "it has changed", "AdapterChanged"),
    Stop(),
    Tick(1.5),
    StepFinished(
        StepResult(
            step=1,
            tokens=(SampledToken("r1", 5, -0.5, ((5, -0.5),)), SampledToken("r2", None)),
            scores=(PromptScores("r1", (A_LOGPROB,)), PromptScores("r2", None)),
        ),
        2.0,
    ),
]

FROM_ENGINE: list[News] = [
    Ready(an_info()),
    Report(
        (
            TokenOutput("r1", 0, None, finish_reason=FinishReason.ERROR, error="x"),
            TokenOutput("r2", 0, 5, prompt_logprobs=(A_LOGPROB,)),
        ),
        (Reply(7, "no room", "AdapterError"), Reply(8, adapters=(A_STATUS,))),
        EngineStats(num_running=1, pages_free=2),
        (AdapterNews(an_adapter(), Standing.LEAVING),),
    ),
    Failed("ModelError", "no such model"),
]


def kind(message: object) -> str:
    return type(message).__name__


@pytest.mark.parametrize("message", TO_ENGINE, ids=kind)
def test_what_is_told_to_the_engine_survives_the_wire(message: Message | Event) -> None:
    wire = msgspec.msgpack.encode(message)
    assert msgspec.msgpack.decode(wire, type=Message | Event) == message


@pytest.mark.parametrize("news", FROM_ENGINE, ids=kind)
def test_what_the_engine_tells_survives_the_wire(news: News) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(news), type=News) == news


def test_a_plan_survives_the_wire() -> None:
    plan = a_plan()
    assert plan.transfers.copies and plan.batch.rows
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(plan), type=StepPlan) == plan


def test_transfers_survive_the_wire_and_know_when_they_are_empty() -> None:
    read = Read(Ticket(1), "/a", (PageId(2),), "digest")
    copy = Copy(Ticket(2), Direction.TO_DEVICE, (PagePair(PageId(2), PageId(5)),), is_ahead=True)
    transfers = Transfers(
        (PageId(1),), (PageId(3),), ("digest",), (copy,), (read,), (Ticket(2),), (Ticket(1),)
    )
    wire = msgspec.msgpack.encode(transfers)
    assert msgspec.msgpack.decode(wire, type=Transfers) == transfers
    assert transfers and Transfers(hurried=(Ticket(2),)) and not Transfers()
