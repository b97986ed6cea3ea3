"""Agents that work alone with tools: each prompt is all that was said and answered before."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from motet.client.workloads.adapters import adapters_of
from motet.client.workloads.draws import log_uniform
from motet.client.workloads.texts import Texts
from motet.client.workloads.tools import Gap, gaps
from motet.client.workloads.trace import Call, Passage, Trace
from motet.client.workloads.workload import Workload, check_range, trace_of

MIN_TASK = 256
"""Tokens of a first prompt behind the system's part."""
MIN_OUTPUT, MAX_OUTPUT = 32, 180
"""Of what a turn appends; the rest is the tool's."""


@dataclass(frozen=True, slots=True)
class ToolLoop(Workload):
    """Sessions in a closed loop: the next turn comes when the tool has answered."""

    agents: int = 32
    """One session each."""
    turns: float = 10.9
    """Calls of a session on average, as Continuum counts them on SWE-bench."""
    sessions_per_s: float = 0.5
    """How often one begins: a Poisson process."""
    human_share: float = 0.0
    """Of turns that wait about two minutes for a human, and not for a tool."""
    system_tokens: int = 1024
    """Shared by all: instructions and tools."""
    min_appended: int = 200
    max_appended: int = 2000
    """Tokens that a turn adds to the context."""
    min_context: int = 8192
    max_context: int = 65536
    """Tokens of the whole session at its end."""

    def __post_init__(self) -> None:
        check_range("agents", self.agents, 1)
        check_range("turns", self.turns, 1, 1000)
        check_range("sessions_per_s", self.sessions_per_s, 0.001)
        check_range("human_share", self.human_share, 0, 1)
        check_range("system_tokens", self.system_tokens, 1)
        check_range("min_appended", self.min_appended, MAX_OUTPUT + 1, self.max_appended)
        check_range("min_context", self.min_context, 1, self.max_context)

    def generate(self) -> Trace:
        adapters = adapters_of(f"lora-{index}" for index in range(self.agents))
        return trace_of(self, "toolloop", self._calls(), adapters)

    def _calls(self) -> Iterator[Call]:
        """Session by session."""
        texts, numbers = Texts(), count()
        system = texts.new(self.system_tokens)
        begin_s = 0.0
        for index in range(self.agents):
            rng = np.random.default_rng([self.seed, index])
            num_turns = 1 + int(rng.poisson(self.turns - 1))
            appended = log_uniform(rng, self.min_appended, self.max_appended, num_turns)
            outputs = rng.integers(MIN_OUTPUT, MAX_OUTPUT, num_turns, endpoint=True).tolist()
            uses: list[Gap | None] = [*gaps(rng, num_turns - 1, self.human_share), None]
            [context] = log_uniform(rng, self.min_context, self.max_context, 1)
            task = max(MIN_TASK, context - self.system_tokens - sum(appended))
            prompt: tuple[Passage, ...] = (system, texts.new(task))
            before: tuple[int, ...] = ()
            delay_s = 0.0
            for turn, gap in enumerate(uses):
                call = Call(
                    call_id=next(numbers),
                    session=f"session-{index}",
                    agent=f"agent-{index}",
                    arrival_s=None if before else begin_s,
                    after=before,
                    delay_s=delay_s,
                    prompt=prompt,
                    output=texts.new(outputs[turn]),
                    adapter=f"lora-{index}",
                    tool=gap.tool if gap else None,
                    is_final=gap is None,
                    hint=gap.hint_s if gap else None,
                )
                yield call
                answer = texts.new(appended[turn] - outputs[turn])
                prompt = (*prompt, call.output, answer)
                before, delay_s = (call.call_id,), gap.seconds if gap else 0.0
            begin_s = round(begin_s + float(rng.exponential(1 / self.sessions_per_s)), 6)
