"""Real time around a real engine, which answers what the trace says."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from motet.bench.replay.costs import CostModel, StepWork
from motet.client.workloads.trace import Passage
from motet.engine.core import EngineCore
from motet.engine.executor import Executor
from motet.engine.messages import Message
from motet.engine.plan import Batch, SampledToken, StepResult
from motet.memory.copy import Transfers


@dataclass(slots=True)
class ToldExecutor:
    """Computes and copies everything, and then says the tokens of the trace: later prompts repeat
    them, and every arm computes the same."""

    executor: Executor
    cost: CostModel
    page_bytes: int
    page_tokens: int
    answers: dict[str, Sequence[int]] = field(default_factory=dict)
    """Request -> the tokens of its answer."""
    steps: list[tuple[StepWork, float]] = field(default_factory=list)
    """With the seconds that each took."""
    busy_s: float = 0.0

    def begin(self, transfers: Transfers) -> None:
        self.executor.begin(transfers)

    def execute(self, batch: Batch) -> StepResult:
        start_s = time.perf_counter()
        result = self.executor.execute(batch)
        seconds = time.perf_counter() - start_s
        self.busy_s += seconds
        self.steps.append((self.cost.work(batch, self.page_bytes, self.page_tokens), seconds))
        answers = self.answers
        tokens = tuple(
            SampledToken(row.request_id, answers[row.request_id][row.num_generated])
            for row in batch.rows
            if row.sampling is not None
        )
        return StepResult(result.step, tokens)


class LiveStage:
    def __init__(self, core: EngineCore, cost: CostModel) -> None:
        info = core.info
        self.executor = ToldExecutor(core.executor, cost, info.page_bytes, info.page_tokens)
        self.core = replace(core, executor=self.executor)
        self._start_s = time.perf_counter()

    @property
    def answers(self) -> dict[str, Sequence[int]]:
        return self.executor.answers

    @property
    def now(self) -> float:
        return time.perf_counter() - self._start_s

    @property
    def busy_s(self) -> float:
        return self.executor.busy_s

    def tokens(self, passage: Passage) -> tuple[int, ...]:
        return _tokens(passage.hash_id, passage.num_tokens, self.core.info.vocab_size)

    def take(self, wait_s: float | None, until_s: float | None) -> list[Message]:
        left_s = None if until_s is None else max(0.0, until_s - self.now)
        waits = [wait for wait in (wait_s, left_s) if wait is not None]
        return self.core.inbox.take(min(waits, default=None))

    def rest(self) -> None:
        """What it took has passed by itself."""

    def restart(self) -> None:
        self._start_s = time.perf_counter()


@lru_cache(maxsize=4096)
def _tokens(hash_id: int, num_tokens: int, vocab_size: int) -> tuple[int, ...]:
    return tuple(random.Random(hash_id).choices(range(vocab_size), k=num_tokens))
