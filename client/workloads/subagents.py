"""Agents that spawn others: these begin with their parent's context, work, report, and end."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from motet.client.workloads.adapters import adapters_of
from motet.client.workloads.draws import log_uniform
from motet.client.workloads.texts import Texts
from motet.client.workloads.tools import gaps
from motet.client.workloads.trace import Call, Passage, Trace
from motet.client.workloads.workload import Workload, check_range, trace_of

ROLES = ("lead", "worker", "helper")
"""By depth, the last for all that are deeper; each has an adapter, as all its agents share it."""
MIN_OUTPUT, MAX_OUTPUT = 64, 256
MIN_RESULT, MAX_RESULT = 100, 1000
"""Tokens of a tool's answer."""


@dataclass(frozen=True, slots=True)
class Subagents(Workload):
    """A closed loop of trees: who has spawned others goes on when all of them have reported."""

    agents: int = 4
    """At the roots; all in all there are some seventy times as many."""
    depth: int = 2
    """Generations that are spawned."""
    min_fan_out: int = 4
    max_fan_out: int = 12
    min_turns: int = 2
    max_turns: int = 5
    """Calls of an agent that spawns none."""
    programs_per_s: float = 0.2
    """How often a root begins: a Poisson process."""
    system_tokens: int = 1024
    """Shared by all."""
    context_tokens: int = 6144
    """Of a root, shared by all below it."""
    task_tokens: int = 256
    """That a parent gives to each child."""

    def __post_init__(self) -> None:
        check_range("agents", self.agents, 1)
        check_range("depth", self.depth, 0, 4)
        check_range("min_fan_out", self.min_fan_out, 1, self.max_fan_out)
        check_range("min_turns", self.min_turns, 1, self.max_turns)
        check_range("programs_per_s", self.programs_per_s, 0.001)
        check_range("system_tokens", self.system_tokens, 1)
        check_range("context_tokens", self.context_tokens, 1)
        check_range("task_tokens", self.task_tokens, 1)

    def generate(self) -> Trace:
        calls: list[Call] = []
        texts, numbers = Texts(), count()
        system = texts.new(self.system_tokens)
        begin_s = 0.0
        for index in range(self.agents):
            rng = np.random.default_rng([self.seed, index])
            program = _Program(self, f"program-{index}", begin_s, rng, texts, numbers)
            calls += program.calls((system, texts.new(self.context_tokens)))
            begin_s = round(begin_s + float(rng.exponential(1 / self.programs_per_s)), 6)
        return trace_of(self, "subagents", calls, adapters_of(ROLES[: self.depth + 1]))


@dataclass(slots=True)
class _Program:
    """One tree."""

    parameters: Subagents
    name: str
    begin_s: float
    rng: np.random.Generator
    texts: Texts
    numbers: Iterator[int]

    def calls(self, context: tuple[Passage, ...]) -> list[Call]:
        return self._agent(self.name, 0, context, ())

    def _agent(
        self, agent: str, depth: int, prompt: tuple[Passage, ...], after: tuple[int, ...]
    ) -> list[Call]:
        """The calls of an agent and of all that it spawns; the last one is its report."""
        if depth == self.parameters.depth:
            return self._work(agent, depth, prompt, after)
        plan = self._call(agent, depth, prompt, after, tool="spawn")
        calls, reports = [plan], []
        context = (*prompt, plan.output)
        low, high = self.parameters.min_fan_out, self.parameters.max_fan_out
        for child in range(int(self.rng.integers(low, high + 1))):
            task = self.texts.new(self.parameters.task_tokens)
            name = f"{agent}.{child}"
            calls += self._agent(name, depth + 1, (*context, task), (plan.call_id,))
            reports.append(calls[-1])
        joined = (*context, *(report.output for report in reports))
        waits_for = tuple(report.call_id for report in reports)
        calls.append(self._call(agent, depth, joined, waits_for, is_final=True))
        return calls

    def _work(
        self, agent: str, depth: int, prompt: tuple[Passage, ...], after: tuple[int, ...]
    ) -> list[Call]:
        low, high = self.parameters.min_turns, self.parameters.max_turns
        uses = gaps(self.rng, int(self.rng.integers(low, high + 1)) - 1)
        results = log_uniform(self.rng, MIN_RESULT, MAX_RESULT, len(uses))
        calls, delay_s = [], 0.0
        for gap, result in zip(uses, results, strict=True):
            call = self._call(
                agent, depth, prompt, after, delay_s=delay_s, tool=gap.tool, hint=gap.hint_s
            )
            calls.append(call)
            prompt = (*prompt, call.output, self.texts.new(result))
            after, delay_s = (call.call_id,), gap.seconds
        calls.append(self._call(agent, depth, prompt, after, delay_s=delay_s, is_final=True))
        return calls

    def _call(
        self,
        agent: str,
        depth: int,
        prompt: tuple[Passage, ...],
        after: tuple[int, ...],
        *,
        delay_s: float = 0.0,
        tool: str | None = None,
        is_final: bool = False,
        hint: float | None = None,
    ) -> Call:
        return Call(
            call_id=next(self.numbers),
            session=agent,
            agent=agent,
            program=self.name,
            arrival_s=None if after else self.begin_s,
            after=after,
            delay_s=delay_s,
            prompt=prompt,
            output=self.texts.new(int(self.rng.integers(MIN_OUTPUT, MAX_OUTPUT + 1))),
            adapter=ROLES[min(depth, len(ROLES) - 1)],
            tool=tool,
            is_final=is_final,
            hint=hint,
        )
