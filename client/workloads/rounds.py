"""Rounds that are broadcast to all agents: a survey, a game, a platform with busy hours."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from motet.client.workloads.adapters import adapters_of
from motet.client.workloads.draws import whole_lognormal
from motet.client.workloads.texts import Texts
from motet.client.workloads.trace import Call, Trace
from motet.client.workloads.workload import Workload, check_range, trace_of

OUTPUT_SIGMA = 0.4


@dataclass(frozen=True, slots=True)
class Rounds(Workload):
    """All agents answer in the same order again and again, or each with a chance that depends on
    the hour."""

    agents: int = 100
    steps: int = 20
    """Rounds."""
    activity: float = 1.0
    """Chance that an agent answers a round; 1: all of them do."""
    hourly: tuple[float, ...] = ()
    """By how much `activity` is multiplied in each hour of a day; empty: 1."""
    steps_per_hour: int = 1
    system_tokens: int = 256
    """Shared by all."""
    persona_tokens: int = 512
    question_tokens: int = 96
    """Of each round, the same for all, behind the persona."""
    output_tokens: int = 48
    """On average."""

    def __post_init__(self) -> None:
        check_range("agents", self.agents, 1)
        check_range("steps", self.steps, 1)
        check_range("activity", self.activity, 0.001, 1)
        for share in self.hourly:
            check_range("hourly", share, 0, 1)
        check_range("steps_per_hour", self.steps_per_hour, 1)
        check_range("system_tokens", self.system_tokens, 1)
        check_range("persona_tokens", self.persona_tokens, 1)
        check_range("question_tokens", self.question_tokens, 1)
        check_range("output_tokens", self.output_tokens, 1)

    def generate(self) -> Trace:
        adapters = adapters_of(f"lora-{index}" for index in range(self.agents))
        return trace_of(self, "rounds", self._calls(), adapters, steps=self.steps)

    def _calls(self) -> Iterator[Call]:
        rng, texts, numbers = np.random.default_rng(self.seed), Texts(), count()
        system = texts.new(self.system_tokens)
        personas = [texts.new(self.persona_tokens) for _ in range(self.agents)]
        for step in range(self.steps):
            question = texts.new(self.question_tokens)
            answers = rng.random(self.agents) < self._chance(step)
            outputs = whole_lognormal(rng, self.output_tokens, OUTPUT_SIGMA, self.agents)
            for index in np.flatnonzero(answers).tolist():
                yield Call(
                    call_id=next(numbers),
                    session=f"agent-{index}",
                    agent=f"agent-{index}",
                    step=step,
                    prompt=(system, personas[index], question),
                    output=texts.new(outputs[index]),
                    adapter=f"lora-{index}",
                    is_final=self._chance(step) == 1 and step == self.steps - 1,
                    hint=1.0 if self._chance(step + 1) == 1 and step + 1 < self.steps else None,
                )

    def _chance(self, step: int) -> float:
        if not self.hourly:
            return self.activity
        return self.activity * self.hourly[step // self.steps_per_hour % len(self.hourly)]
