"""Where a run takes place: an engine, and the time that passes around it."""

from collections.abc import Sequence
from typing import Protocol

from motet.client.workloads.trace import Passage
from motet.engine.core import EngineCore
from motet.engine.messages import Message


class Stage(Protocol):
    @property
    def core(self) -> EngineCore: ...

    @property
    def answers(self) -> dict[str, Sequence[int]]:
        """Request -> the tokens that it is to answer, so that later prompts may repeat them."""

    @property
    def now(self) -> float:
        """Seconds since the run began."""

    @property
    def busy_s(self) -> float:
        """In which steps were computed."""

    def tokens(self, passage: Passage) -> Sequence[int]:
        """Equal ids, equal tokens."""

    def take(self, wait_s: float | None, until_s: float | None) -> list[Message]:
        """What has come. Waits for the first at most `wait_s` (None: for ever), and no longer than
        until `until_s`."""

    def rest(self) -> None:
        """A turn is over in which nothing was computed."""

    def restart(self) -> None:
        """From now on time counts."""


def fill_host(stage: Stage) -> None:
    """With every adapter, as far as it has room for them: as after a start."""
    core = stage.core
    memory = core.scheduler.memory
    num_pages = 0
    for rank, state in enumerate(memory.adapters.states()):
        num_pages += state.size
        if num_pages > memory.host.pool.num_pages:
            break
        memory.adapters.call(state, (0.0, rank))
        core.turn((), stage.now)
        memory.adapters.call(state, None)
        core.turn(stage.take(None, None), stage.now)
    stage.restart()
