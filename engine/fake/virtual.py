"""An engine on virtual time."""

from dataclasses import dataclass

from motet.engine.core import EngineCore
from motet.engine.fake.executor import FakeExecutor
from motet.engine.messages import Message, Report


@dataclass(frozen=True, slots=True)
class VirtualEngine:
    """Turns a core as a real loop would; where that would wait, the clock jumps."""

    core: EngineCore
    executor: FakeExecutor

    @property
    def now(self) -> float:
        return self.executor.clock.now

    def turn(self) -> Report:
        """Take what has come and make one turn."""
        return self.core.turn(self.take(), self.now)

    def take(self) -> list[Message]:
        """What has come, or would come next if nothing else happened."""
        messages = self.core.inbox.take(0)
        wait_s = self.core.scheduler.wait_s(self.now)
        if messages or wait_s == 0:
            return messages
        self.pass_time(wait_s)
        return self.core.inbox.take(0)

    def pass_time(self, most_s: float | None) -> None:
        """Until the next copy is over, but no longer than that."""
        next_s = self.executor.lines.next_s()
        times = [] if next_s is None else [max(self.now, next_s)]
        times += [] if most_s is None else [self.now + most_s]
        self.executor.clock.now = min(times, default=self.now)
        self.executor.end_copies()
