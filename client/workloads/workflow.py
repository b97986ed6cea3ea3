"""Workflows that go in circles: a planner, executors side by side, an expresser, a reviewer.

As in KVFlow (arXiv 2507.07400) each role has a long prompt of its own, and how many steps it is to
the next turn of each can be read off the graph.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from motet.client.workloads.adapters import adapters_of
from motet.client.workloads.draws import log_uniform
from motet.client.workloads.texts import Texts
from motet.client.workloads.trace import Call, Passage, Trace
from motet.client.workloads.workload import Workload, check_range, trace_of

EXECUTORS = ("search", "read", "code", "test", "math", "data", "write")
ROLES = ("planner", *EXECUTORS, "expresser", "reviewer")
CIRCLE = 4
"""Steps of the shortest way around."""
MIN_EXECUTORS = 3
MAX_EXECUTOR_CALLS = 3
"""Of one executor, in steps that follow each other."""
MIN_OUTPUT, MAX_OUTPUT = 64, 512


@dataclass(frozen=True, slots=True)
class Workflow(Workload):
    """Many workflows at once, in different places of the circle. An agent is a role in one."""

    agents: int = 160
    """Ten roles for each workflow: KVFlow has 1 to 64 at once."""
    steps: int = 100
    or_share: float = 0.5
    """Of circles in which the first executor that is done suffices; else all must be."""
    min_prompt: int = 1024
    max_prompt: int = 8192
    """Tokens of a role's prompt, which all workflows share."""
    task_tokens: int = 256
    """Of each workflow."""

    def __post_init__(self) -> None:
        check_range("agents", self.agents, len(ROLES))
        check_range("steps", self.steps, 1)
        check_range("or_share", self.or_share, 0, 1)
        check_range("min_prompt", self.min_prompt, 1, self.max_prompt)
        check_range("task_tokens", self.task_tokens, 1)

    def generate(self) -> Trace:
        rng, texts, numbers = np.random.default_rng(self.seed), Texts(), count()
        sizes = log_uniform(rng, self.min_prompt, self.max_prompt, len(ROLES))
        prompts = {role: texts.new(size) for role, size in zip(ROLES, sizes, strict=True)}
        calls: list[Call] = []
        for index in range(self.agents // len(ROLES)):
            own = np.random.default_rng([self.seed, index])
            workflow = _Run(self, f"workflow-{index}", own, texts, numbers, prompts)
            calls += workflow.calls(texts.new(self.task_tokens))
        return trace_of(self, "workflow", calls, adapters_of(ROLES), steps=self.steps)


@dataclass(slots=True)
class _Run:
    """One workflow."""

    parameters: Workflow
    name: str
    rng: np.random.Generator
    texts: Texts
    numbers: Iterator[int]
    prompts: dict[str, Passage]

    def calls(self, task: Passage) -> list[Call]:
        """All until the trace is over."""
        step = int(self.rng.integers(CIRCLE))
        found: list[Call] = []
        read: list[Call] = []
        while step < self.parameters.steps:
            plan = self._call("planner", step, task, read, hint=CIRCLE)
            executed = self._execute(task, plan)
            reports = [calls[-1] for calls in executed]
            if self.rng.random() < self.parameters.or_share:
                reports = [min(reports, key=_step_of)]
            step = max(map(_step_of, reports)) + 1
            text = self._call("expresser", step, task, [plan, *reports], hint=CIRCLE)
            review = self._call("reviewer", step + 1, task, [plan, text], hint=CIRCLE)
            found += [plan, *(call for calls in executed for call in calls), text, review]
            read, step = [text, review], step + 2
        return [call for call in found if _step_of(call) < self.parameters.steps]

    def _execute(self, task: Passage, plan: Call) -> list[list[Call]]:
        """Some of the executors, side by side, for one step or more each."""
        size = int(self.rng.integers(MIN_EXECUTORS, len(EXECUTORS) + 1))
        chosen = sorted(self.rng.choice(len(EXECUTORS), size, replace=False).tolist())
        return [self._work(EXECUTORS[index], task, plan) for index in chosen]

    def _work(self, role: str, task: Passage, plan: Call) -> list[Call]:
        num_calls = int(self.rng.integers(1, MAX_EXECUTOR_CALLS + 1))
        read: list[Call] = [plan]
        calls: list[Call] = []
        for step in range(_step_of(plan) + 1, _step_of(plan) + 1 + num_calls):
            is_last = len(calls) == num_calls - 1
            calls.append(self._call(role, step, task, read, hint=CIRCLE if is_last else 1))
            read = [plan, *calls]
        return calls

    def _call(self, role: str, step: int, task: Passage, read: list[Call], *, hint: int) -> Call:
        return Call(
            call_id=next(self.numbers),
            session=f"{self.name}.{role}",
            agent=f"{self.name}.{role}",
            program=self.name,
            step=step,
            after=tuple(call.call_id for call in read),
            prompt=(self.prompts[role], task, *(call.output for call in read)),
            output=self.texts.new(int(self.rng.integers(MIN_OUTPUT, MAX_OUTPUT + 1))),
            adapter=role,
            hint=float(hint),
        )


def _step_of(call: Call) -> int:
    assert call.step is not None
    return call.step
