"""One turn of the engine, without threads or clocks."""

from collections.abc import Iterable
from dataclasses import dataclass

from motet.engine.executor import Executor
from motet.engine.inbox import Inbox
from motet.engine.messages import Call, Message, Reply, Report, StepFinished, Stop, Tick
from motet.engine.output import EngineInfo, TokenOutput
from motet.engine.plan import StepPlan, StepResult
from motet.engine.recording import Recorder
from motet.engine.scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class EngineCore:
    """A scheduler and the executor it drives."""

    info: EngineInfo
    scheduler: Scheduler
    executor: Executor
    inbox: Inbox
    """Where users put what they want, and the executor the ends of copies."""
    recorder: Recorder | None = None

    def take(self, now: float) -> list[Message]:
        """What has come, for the next turn. Waits as long as nothing can be done without it."""
        return self.inbox.take(self.scheduler.wait_s(now))

    def turn(self, messages: Iterable[Message], now: float) -> Report:
        """Handle what happened, then plan one step, and run it if any row can."""
        messages = tuple(messages)
        outputs, replies = handle(self.scheduler, messages, now)
        plan = self.scheduler.plan()
        result = self._carry_out(plan)
        if result is not None:
            outputs += self.scheduler.handle(StepFinished(result, now))
        if self.recorder is not None:
            self.recorder.add(messages, now, plan, result)
        news = self.scheduler.memory.registry.take_news()
        return Report(tuple(outputs), tuple(replies), self.scheduler.stats(), news)

    def _carry_out(self, plan: StepPlan) -> StepResult | None:
        if plan.transfers:
            self.executor.begin(plan.transfers)
        return self.executor.execute(plan.batch) if plan.batch.rows else None


def handle(
    scheduler: Scheduler, messages: Iterable[Message], now: float
) -> tuple[list[TokenOutput], list[Reply]]:
    """Tell a scheduler what has come: what its users should hear.

    Who is late is asked last: what came during a long step is not late because it is heard of after
    it.
    """
    outputs: list[TokenOutput] = []
    scheduler.tell_time(now)
    for message in messages:
        match message:
            case Call():
                scheduler.commands.handle(message)
            case Stop():
                pass
            case _:
                outputs += scheduler.handle(message)
    outputs += scheduler.handle(Tick(now))
    return outputs, scheduler.commands.take_replies()
