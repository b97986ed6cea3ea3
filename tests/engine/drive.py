"""Turns a real engine as its loop would."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from motet.engine.core import EngineCore
from motet.engine.messages import Arrived, Message, Report
from motet.engine.request import Request


@dataclass(frozen=True, slots=True)
class RealEngine:
    """A core and its executor on the clock of the machine."""

    core: EngineCore

    @property
    def now(self) -> float:
        return time.monotonic()

    def take(self) -> list[Message]:
        return self.core.take(self.now)


def turns(core: EngineCore, requests: Iterable[Request] = ()) -> Iterator[Report]:
    """Until these requests and all before them have ended."""
    for request in requests:
        core.inbox.put(Arrived(request, 0.0))
    engine = RealEngine(core)
    yield core.turn(engine.take(), engine.now)
    while core.scheduler.has_work:
        yield core.turn(engine.take(), engine.now)
