"""One turn of the engine, without threads or clocks."""

from collections.abc import Iterable
from dataclasses import dataclass

from motet.engine.events import Event, StepFinished
from motet.engine.executor import Executor
from motet.engine.output import EngineInfo, StepReport, TokenOutput
from motet.engine.scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class EngineCore:
    """A scheduler and the executor it drives."""

    info: EngineInfo
    scheduler: Scheduler
    executor: Executor

    def turn(self, events: Iterable[Event], now: float) -> StepReport:
        """Handle what happened, plan one step and run it. An empty plan runs nothing."""
        outputs: list[TokenOutput] = []
        for event in events:
            outputs += self.scheduler.handle(event)
        plan = self.scheduler.plan(now)
        if not plan.is_empty:
            result = self.executor.execute(plan)
            outputs += self.scheduler.handle(StepFinished(result, now))
        return StepReport(tuple(outputs), self.scheduler.stats())
