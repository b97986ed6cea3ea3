"""Now many adapters, now long memories: what a pool that is divided for good cannot suit."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
from msgspec.structs import replace

from motet.client.workloads.adapters import adapters_of
from motet.client.workloads.town import Town
from motet.client.workloads.trace import Call, Passage, Push, Trace
from motet.client.workloads.workload import Workload, check_range, trace_of

FIRST_HASH_ID = 2**40
"""Of requests without sessions: a town's texts have smaller ones."""


@dataclass(frozen=True, slots=True)
class Phases(Workload):
    """In turn, steps of requests as `manylora` makes them, and of a `town` with long personas in
    which agents share adapters."""

    agents: int = 100
    """Of the town."""
    steps: int = 120
    phase_steps: int = 10
    """After which it is the other's turn. The town's world stands still meanwhile."""
    adapters: int = 400
    """Of the requests; their popularity follows a power law."""
    alpha: float = 0.5
    requests: int = 80
    """In each of their steps."""
    min_input: int = 8
    max_input: int = 128
    min_output: int = 8
    max_output: int = 64
    persona_tokens: int = 1500
    town_adapters: int = 4

    def __post_init__(self) -> None:
        check_range("agents", self.agents, 1)
        check_range("steps", self.steps, 1)
        check_range("phase_steps", self.phase_steps, 1)
        check_range("adapters", self.adapters, 1)
        check_range("alpha", self.alpha, 0)
        check_range("requests", self.requests, 1)
        check_range("min_input", self.min_input, 1, self.max_input)
        check_range("min_output", self.min_output, 1, self.max_output)
        check_range("persona_tokens", self.persona_tokens, 1)
        check_range("town_adapters", self.town_adapters, 1)

    def generate(self) -> Trace:
        town = Town(
            seed=self.seed,
            agents=self.agents,
            steps=max(1, self.steps // 2),
            persona_tokens=self.persona_tokens,
        ).generate()
        calls, numbers = list(self._of_town(town)), count(len(town.calls))
        calls += self._requests(numbers)
        calls.sort(key=lambda call: (call.step or 0, call.call_id))
        names = [f"town-{index}" for index in range(self.town_adapters)]
        names += [f"lora-{index}" for index in range(self.adapters)]
        pushes = [self._push(push) for push in town.pushes if self._step(push.push) < self.steps]
        return trace_of(self, "phases", calls, adapters_of(names), pushes=pushes, steps=self.steps)

    def _step(self, town_step: int) -> int:
        """Of the world, in which a step of the town is taken."""
        phase, step = divmod(town_step, self.phase_steps)
        return (2 * phase + 1) * self.phase_steps + step

    def _away(self, town_step: int, distance: float) -> int:
        """A distance of the town, in steps of the world."""
        return self._step(town_step + round(distance)) - self._step(town_step)

    def _of_town(self, town: Trace) -> Iterator[Call]:
        for call in town.calls:
            assert call.step is not None and call.adapter is not None
            if self._step(call.step) < self.steps:
                number = int(call.adapter.rpartition("-")[2]) % self.town_adapters
                hint = None if call.hint is None else float(self._away(call.step, call.hint))
                step = self._step(call.step)
                yield replace(call, step=step, hint=hint, adapter=f"town-{number}")

    def _push(self, push: Push) -> Push:
        distances = {
            agent: distance if distance < 0 else self._away(push.push, distance)
            for agent, distance in push.distances.items()
        }
        return Push(self._step(push.push), distances)

    def _requests(self, numbers: Iterator[int]) -> Iterator[Call]:
        rng, texts = np.random.default_rng(self.seed), count(FIRST_HASH_ID)
        weights = np.arange(1.0, self.adapters + 1) ** -self.alpha
        steps = [s for s in range(self.steps) if s // self.phase_steps % 2 == 0]
        for step in steps:
            chosen = rng.choice(self.adapters, self.requests, p=weights / weights.sum()).tolist()
            inputs = rng.integers(self.min_input, self.max_input + 1, self.requests).tolist()
            outputs = rng.integers(self.min_output, self.max_output + 1, self.requests).tolist()
            for adapter, num_in, num_out in zip(chosen, inputs, outputs, strict=True):
                number = next(numbers)
                yield Call(
                    call_id=number,
                    session=f"request-{number}",
                    agent=f"user-{adapter}",
                    step=step,
                    prompt=(Passage(next(texts), num_in),),
                    output=Passage(next(texts), num_out),
                    adapter=f"lora-{adapter}",
                )
