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
        """Handle what happened, then plan one step and run it if there is work."""
        outputs: list[TokenOutput] = []
        for event in events:
            outputs += self.scheduler.handle(event)
        if self.scheduler.has_work:
            result = self.executor.execute(self.scheduler.plan(now))
            outputs += self.scheduler.handle(StepFinished(result, now))
        return StepReport(tuple(outputs), self.scheduler.stats())
