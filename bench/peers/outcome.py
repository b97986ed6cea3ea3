"""What crosses between this process and that of an engine: the task, and what came of it."""

from dataclasses import dataclass

from motet.bench.peers.engine import Tokens
from motet.bench.peers.workload import Scenario, Workload


@dataclass(frozen=True, slots=True)
class Task:
    """One engine in one scenario, in a process of its own."""

    engine: str
    scenario: Scenario
    workload: Workload
    directory: str
    device: str
    threads: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """The timed rounds of a task, or why there are none."""

    engine: str
    scenario: Scenario
    seconds: tuple[float, ...] = ()
    """Of each round, from handing over the prompts to having all tokens."""
    tokens: tuple[Tokens, ...] = ()
    """Of each round."""
    prefix_hits: int | None = None
    adapters_in_step: int | None = None
    peak_bytes: int = 0
    """Most anonymous memory that its process and the children of that had at once."""
    error: str | None = None

    @property
    def num_tokens(self) -> int:
        return sum(len(ids) for round_tokens in self.tokens for ids in round_tokens)

    @property
    def tokens_per_s(self) -> list[float]:
        """Output tokens per second of each round."""
        return [
            sum(map(len, tokens)) / seconds
            for tokens, seconds in zip(self.tokens, self.seconds, strict=True)
        ]
