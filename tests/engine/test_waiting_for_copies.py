"""Nobody waits for a copy that they do not need. On virtual time, as a real loop would turn."""

import pytest

from motet.engine.core import EngineCore
from motet.engine.fake.clock import StepCost
from motet.engine.fake.lines import Lines
from motet.engine.fake.link import Fault, LinkCost, VirtualLink
from motet.engine.fake.virtual import VirtualEngine
from motet.engine.inbox import Inbox
from motet.engine.messages import Aborted, Arrived
from motet.engine.output import FinishReason, TokenOutput
from motet.errors import BrokenInvariant
from motet.memory.adapter import Adapter
from motet.memory.adapter_cache import MAX_LOST
from motet.memory.copies import PATIENCE_S
from tests.engine.factories import a_request, a_scheduler, an_adapter, an_executor, an_info
from tests.engine.stepping import ids, step

BASE_S = 0.01
"""Of a step, in `StepCost`."""


def an_engine(link: VirtualLink, adapters: list[Adapter], num_pages: int = 400) -> VirtualEngine:
    scheduler = a_scheduler(
        num_pages=num_pages,
        max_batch_tokens=256,
        max_batch_rows=80,
        max_batch_adapters=80,
        adapters=adapters,
    )
    inbox = Inbox()
    executor = an_executor(scheduler, inbox, Lines(to_device=link))
    return VirtualEngine(EngineCore(an_info(), scheduler, executor, inbox), executor)


def run_until(engine: VirtualEngine, request_id: str) -> TokenOutput:
    """The first output of a request."""
    while True:
        for output in engine.turn().outputs:
            if output.request_id == request_id:
                return output


def test_a_request_that_arrives_while_another_s_adapter_loads_does_not_wait_for_it() -> None:
    """A base request 50 ms into a load of 500 ms."""
    adapter = an_adapter(num_pages=4)
    engine = an_engine(VirtualLink(LinkCost(latency_s=0.5)), [adapter])
    engine.core.inbox.put(Arrived(a_request(6, 1, adapter, "loads"), 0.0))
    engine.turn()
    engine.pass_time(0.05)
    engine.core.inbox.put(Arrived(a_request(6, 1, request_id="base"), engine.now))
    run_until(engine, "base")
    assert engine.now - 0.05 < 0.03
    run_until(engine, "loads")
    assert engine.now == pytest.approx(0.5 + BASE_S, abs=0.01)


def tokens_of_the_hot(num_cold: int) -> int:
    """Tokens that a resident adapter's requests get within two seconds, while others load."""
    hot, *cold = [an_adapter(f"a{i}", num_pages=4) for i in range(1 + num_cold)]
    engine = an_engine(VirtualLink(LinkCost(page_s=0.01)), [hot, *cold])
    for number in range(4):
        engine.core.inbox.put(Arrived(a_request(4, 230, hot, f"hot-{number}"), 0.0))
    while len(engine.core.scheduler.running) < 4:
        engine.turn()
    for adapter in cold:
        engine.core.inbox.put(Arrived(a_request(1, 1, adapter), engine.now))
    end_s, num_tokens = engine.now + 2.0, 0
    while engine.now < end_s:
        num_tokens += sum(o.request_id.startswith("hot") for o in engine.turn().outputs)
    return num_tokens


def test_64_cold_adapters_leave_the_hot_ones_their_throughput() -> None:
    assert tokens_of_the_hot(num_cold=64) >= 0.97 * tokens_of_the_hot(num_cold=0)


def test_who_waits_for_a_copy_holds_no_row_no_slot_and_no_reference() -> None:
    adapters = [an_adapter(name) for name in "ab"]
    engine = an_engine(VirtualLink(LinkCost(latency_s=10.0)), adapters)
    for adapter in adapters:
        engine.core.inbox.put(Arrived(a_request(adapter=adapter), 0.0))
    engine.turn()
    scheduler = engine.core.scheduler
    assert scheduler.stats().num_waiting == 2
    assert scheduler.running == () and not scheduler.memory.adapters.references()


def test_the_core_says_how_long_it_can_wait() -> None:
    adapter = an_adapter()
    engine = an_engine(VirtualLink(LinkCost(latency_s=1.0)), [adapter])
    scheduler = engine.core.scheduler
    engine.turn()
    assert scheduler.wait_s(0.0) is None  # nobody is there
    engine.core.inbox.put(Arrived(a_request(adapter=adapter, deadline_s=2.5), 0.0))
    engine.core.turn(engine.core.inbox.take(0), 0.5)
    assert scheduler.wait_s(0.5) == 2.0  # until the deadline
    assert scheduler.wait_s(3.0) == 0.0
    scheduler.handle(Aborted("nobody"))
    assert engine.core.scheduler.memory.next_due_s == 0.5 + PATIENCE_S


def test_requests_that_would_wait_for_ever_are_a_bug_that_is_told() -> None:
    adapter = an_adapter()
    engine = an_engine(VirtualLink(LinkCost(latency_s=1.0)), [adapter])
    engine.core.inbox.put(Arrived(a_request(adapter=adapter), 0.0))
    engine.turn()
    engine.core.scheduler.memory.copies._under_way.clear()
    with pytest.raises(BrokenInvariant, match="1 requests wait for nothing"):
        engine.core.scheduler.wait_s(0.0)


def test_a_copy_that_fails_ends_those_who_need_it_and_nobody_else() -> None:
    good, bad = an_adapter("good"), an_adapter("bad")
    link = VirtualLink(LinkCost(latency_s=0.1))
    engine = an_engine(link, [good, bad])
    link.faults = {Fault.FAILED: 1.0}
    for number in range(3):
        engine.core.inbox.put(Arrived(a_request(4, 2, bad, f"bad-{number}"), 0.0))
    engine.turn()
    link.faults = {}
    engine.core.inbox.put(Arrived(a_request(4, 2, good, "good"), 0.0))
    outputs: list[TokenOutput] = []
    while engine.core.scheduler.has_work:
        outputs += engine.turn().outputs
    ends = {o.request_id: o.finish_reason for o in outputs if o.finish_reason}
    failed = dict.fromkeys((f"bad-{number}" for number in range(3)), FinishReason.ERROR)
    assert ends == {**failed, "good": FinishReason.LENGTH}
    (error,) = {o.error for o in outputs if o.error}
    assert error is not None and "adapter 'bad'" in error and "the link has failed" in error
    engine.core.inbox.put(Arrived(a_request(4, 2, bad, "again"), engine.now))
    assert run_until(engine, "again").token_id is not None


def test_a_lost_copy_is_begun_again_and_after_some_those_who_wait_are_told() -> None:
    adapter = an_adapter()
    link = VirtualLink(LinkCost(latency_s=0.1), {Fault.LATE: 1.0})
    engine = an_engine(link, [adapter])
    engine.core.inbox.put(Arrived(a_request(4, 2, adapter, "a"), 0.0))
    output = run_until(engine, "a")
    assert output.finish_reason is FinishReason.ERROR
    assert f"{MAX_LOST} copies in a row" in (output.error or "")
    assert engine.now == pytest.approx(MAX_LOST * PATIENCE_S)
    link.faults = {}
    engine.core.inbox.put(Arrived(a_request(4, 2, adapter, "b"), engine.now))
    assert run_until(engine, "b").token_id is not None
    while engine.core.scheduler.has_work:
        engine.turn()
    room = engine.core.scheduler.memory.room
    assert room.pool.num_free + room.num_idle_pages == room.pool.num_pages


def test_a_copy_that_ends_during_a_step_longer_than_patience_is_not_lost() -> None:
    adapter = an_adapter()
    engine = an_engine(VirtualLink(LinkCost(latency_s=0.1)), [adapter])
    engine.core.inbox.put(Arrived(a_request(4, 9, request_id="runs"), 0.0))
    engine.core.inbox.put(Arrived(a_request(4, 2, adapter, "loads"), 0.0))
    engine.executor.cost = StepCost(base_s=2 * PATIENCE_S)
    assert run_until(engine, "loads").token_id is not None
    assert engine.core.scheduler.memory.copies.counters.lost == 0


@pytest.mark.parametrize(("size", "is_passed"), [(12, False), (15, True)])
def test_who_has_room_once_others_end_is_not_passed_because_a_copy_hangs(
    size: int, is_passed: bool
) -> None:
    """Of 20 pages a copy holds 6 that nobody wants any more, and who runs 4."""
    hangs, wanted = an_adapter("hangs", num_pages=6), an_adapter("wanted", num_pages=size)
    scheduler = a_scheduler(num_pages=20, adapters=[hangs, wanted])
    scheduler.handle(Arrived(a_request(4, 4, hangs, "hangs"), 0.0))
    scheduler.plan()
    scheduler.handle(Aborted("hangs"))
    scheduler.handle(Arrived(a_request(12, 4, request_id="runs"), 0.0))
    assert ids(step(scheduler)[0]) == ["runs"]
    scheduler.handle(Arrived(a_request(4, 4, wanted, "waits"), 0.0))
    scheduler.handle(Arrived(a_request(8, 4, request_id="behind"), 0.0))
    assert ("behind" in ids(step(scheduler)[0])) == is_passed


def test_a_deadline_ends_a_request_wherever_it_is() -> None:
    adapter = an_adapter()
    engine = an_engine(VirtualLink(LinkCost(latency_s=5.0)), [adapter])
    core = engine.core
    core.inbox.put(Arrived(a_request(4, 200, request_id="runs", deadline_s=0.1), 0.0))
    core.inbox.put(Arrived(a_request(4, 200, adapter, "waits", deadline_s=1.0), 0.0))
    core.inbox.put(Arrived(a_request(4, 2, request_id="in time", deadline_s=60.0), 0.0))
    ends: dict[str, tuple[FinishReason, float]] = {}
    engine.turn()
    while core.scheduler.has_work:
        for output in engine.turn().outputs:
            if output.finish_reason:
                ends[output.request_id] = (output.finish_reason, engine.now)
    assert ends["in time"][0] is FinishReason.LENGTH
    assert ends["runs"][0] is ends["waits"][0] is FinishReason.TIMEOUT
    assert ends["runs"][1] == pytest.approx(0.1, abs=0.03)
    assert ends["waits"][1] == pytest.approx(1.0, abs=0.03)
