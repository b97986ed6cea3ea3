"""Agents that act on their own: a call, an action of known duration, the next call."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np

from motet.client.workloads.adapters import adapters_of
from motet.client.workloads.announced import Announced
from motet.client.workloads.draws import remaining_lognormal, whole_lognormal
from motet.client.workloads.texts import Texts
from motet.client.workloads.trace import Call, Trace
from motet.client.workloads.workload import Workload, check_range, trace_of


@dataclass(frozen=True, slots=True)
class Independent(Workload):
    """Each agent has its own prefix and its own adapter. Everything is known beforehand."""

    agents: int = 100
    steps: int = 200
    activity: float = 0.2
    """Mean share of agents that call in a step; less than that near 1, as actions take a step."""
    duration_sigma: float = 0.5
    """Of the logarithm of an action's duration, whose mean is 1 / activity steps."""
    prefix_tokens: int = 1536
    min_suffix: int = 64
    max_suffix: int = 256
    min_output: int = 32
    max_output: int = 128

    def __post_init__(self) -> None:
        check_range("agents", self.agents, 1)
        check_range("steps", self.steps, 1)
        check_range("activity", self.activity, 0.001, 1)
        check_range("duration_sigma", self.duration_sigma, 0, 2)
        check_range("prefix_tokens", self.prefix_tokens, 1)
        check_range("min_suffix", self.min_suffix, 1, self.max_suffix)
        check_range("min_output", self.min_output, 1, self.max_output)

    def generate(self) -> Trace:
        first: dict[str, int] = {}
        calls = list(self._calls(first))
        names = [f"lora-{index}" for index in range(self.agents)]
        push = Announced().push(0, first)
        return trace_of(
            self, "independent", calls, adapters_of(names), pushes=[push], steps=self.steps
        )

    def _calls(self, first: dict[str, int]) -> Iterator[Call]:
        """Agent by agent. `first` gets the step of each agent's first call."""
        texts, numbers = Texts(), count()
        for index in range(self.agents):
            agent, adapter = f"agent-{index}", f"lora-{index}"
            prefix = texts.new(self.prefix_tokens)
            visits = self._visits(index)
            first[agent] = visits[0].step
            for visit in visits:
                if visit.step < self.steps:
                    yield Call(
                        call_id=next(numbers),
                        session=agent,
                        agent=agent,
                        step=visit.step,
                        prompt=(prefix, texts.new(visit.suffix)),
                        output=texts.new(visit.output),
                        adapter=adapter,
                        tool="act",
                        hint=float(visit.duration),
                    )

    def _visits(self, index: int) -> list["_Visit"]:
        """An agent's calls from a random moment of its life on, until the trace is over."""
        rng = np.random.default_rng([self.seed, index])
        mean = 1 / self.activity
        step = remaining_lognormal(rng, mean, self.duration_sigma)
        visits: list[_Visit] = []
        while not visits or step < self.steps:
            size = int(self.steps * self.activity) + 8
            durations = whole_lognormal(rng, mean, self.duration_sigma, size)
            suffixes = rng.integers(self.min_suffix, self.max_suffix + 1, size).tolist()
            outputs = rng.integers(self.min_output, self.max_output + 1, size).tolist()
            for duration, suffix, output in zip(durations, suffixes, outputs, strict=True):
                visits.append(_Visit(step, duration, suffix, output))
                step += duration
        return visits


class _Visit(NamedTuple):
    step: int
    duration: int
    suffix: int
    output: int
