"""Towns of agents that live by a plan of the day, and talk when they meet.

The statistics are those that AI Metropolis (arXiv 2411.03519) gives of Generative Agents: 25 agents
on 100x140 tiles, 10 s a step, about 5,000 calls in a busy hour and 800 in a quiet one, prompts of
642 tokens and outputs of 22. More agents are more towns, which know nothing of each other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from motet.client.workloads.adapters import adapters_of
from motet.client.workloads.announced import Announced
from motet.client.workloads.draws import whole_lognormal
from motet.client.workloads.texts import Texts
from motet.client.workloads.town_life import TownLife, Turn
from motet.client.workloads.trace import Call, Passage, Push, Trace
from motet.client.workloads.workload import Workload, check_range, trace_of

TOWN_SIZE = 25
PERSONA_SPREAD = 40
"""Of the tokens of a persona, to both sides."""
MEMORY_SIGMA = 0.4
OUTPUT_SIGMA = 0.6
MEAN_SAID = 8 / 3
"""Turns before one of a dialogue of 4 to 8, on average."""


@dataclass(frozen=True, slots=True)
class Town(Workload):
    """Prompts are the system's, the persona's, what is remembered, and what was said just now."""

    agents: int = 25
    steps: int = 360
    """Of 10 s each."""
    activity: float = 5000 / (25 * 360)
    """Calls of an agent in a step of the busiest hour; the other hours are in proportion."""
    start_hour: int = 12
    """Of the day: 12 is the busiest hour, 6 the quietest in which agents are awake."""
    system_tokens: int = 180
    """Shared by all."""
    persona_tokens: int = 160
    memory_tokens: int = 302
    output_tokens: int = 22

    def __post_init__(self) -> None:
        check_range("agents", self.agents, 1)
        check_range("steps", self.steps, 1)
        check_range("activity", self.activity, 0.001, 1)
        check_range("start_hour", self.start_hour, 0, 23)
        check_range("system_tokens", self.system_tokens, 1)
        check_range("persona_tokens", self.persona_tokens, PERSONA_SPREAD + 1)
        check_range("output_tokens", self.output_tokens, 1)
        check_range("memory_tokens", self.memory_tokens, 4 * self.output_tokens)

    def generate(self) -> Trace:
        dialogues = count()
        towns = [
            TownLife(
                np.random.default_rng([self.seed, number]),
                dialogues,
                num_agents=min(TOWN_SIZE, self.agents - first),
                activity=self.activity,
                start_hour=self.start_hour,
            )
            for number, first in enumerate(range(0, self.agents, TOWN_SIZE))
        ]
        writer, announced = _Writer(self), Announced()
        agents = [f"agent-{index}" for index in range(self.agents)]
        expected = [distance for town in towns for distance in town.distances()]
        calls: list[Call] = []
        pushes: list[Push | None] = []
        for step in range(self.steps):
            pushes.append(announced.push(step, dict(zip(agents, expected, strict=True))))
            turns = [
                turn._replace(agent=number * TOWN_SIZE + turn.agent)
                for number, town in enumerate(towns)
                for turn in town.step()
            ]
            expected = [distance for town in towns for distance in town.distances()]
            for call in writer.calls(step, turns, expected):
                announced.by_hint(call.agent, step, int(call.hint or 0))
                calls.append(call)
        adapters = adapters_of(f"lora-{index}" for index in range(self.agents))
        return trace_of(self, "town", calls, adapters, pushes=pushes, steps=self.steps)


class _Writer:
    """Makes calls of turns: what they are about, and after which they come."""

    def __init__(self, parameters: Town) -> None:
        self._parameters = parameters
        self._texts, self._numbers = Texts(), count()
        self._rng = np.random.default_rng([parameters.seed, 2**31])
        self._system = self._texts.new(parameters.system_tokens)
        self._personas = [self._persona(index) for index in range(parameters.agents)]
        self._memories: dict[tuple[int, int], Passage] = {}
        """Of (dialogue, agent)."""
        self._said: dict[int, list[Call]] = {}
        """In each dialogue."""

    def _persona(self, index: int) -> Passage:
        mean = self._parameters.persona_tokens
        rng = np.random.default_rng([self._parameters.seed, 2**31 + 1, index])
        low, high = mean - PERSONA_SPREAD, mean + PERSONA_SPREAD
        return self._texts.new(int(rng.integers(low, high + 1)))

    def calls(self, step: int, turns: list[Turn], distances: list[int]) -> Iterator[Call]:
        """`distances` are from the step that comes then."""
        last = {turn.agent: index for index, turn in enumerate(turns)}
        before: dict[int, int] = {}
        for index, turn in enumerate(turns):
            hint = distances[turn.agent] + 1 if last[turn.agent] == index else 0
            call = self._call(step, turn, before.get(turn.agent), hint)
            before[turn.agent] = call.call_id
            yield call

    def _call(self, step: int, turn: Turn, before: int | None, hint: int) -> Call:
        agent = turn.agent
        said = self._said.setdefault(turn.dialogue, []) if turn.dialogue is not None else []
        after = {said[-1].call_id} if said else set()
        after |= {before} if before is not None else set()
        [num_output] = whole_lognormal(self._rng, self._parameters.output_tokens, OUTPUT_SIGMA, 1)
        call = Call(
            call_id=next(self._numbers),
            session=f"agent-{agent}",
            agent=f"agent-{agent}",
            program=f"town-{agent // TOWN_SIZE}",
            step=step,
            after=tuple(sorted(after)),
            prompt=(
                self._system,
                self._personas[agent],
                self._memory(agent, turn.dialogue),
                *(earlier.output for earlier in said),
            ),
            output=self._texts.new(num_output),
            adapter=f"lora-{agent}",
            tool="talk" if turn.dialogue is not None else "act",
            hint=float(hint),
        )
        said.append(call)
        return call

    def _memory(self, agent: int, dialogue: int | None) -> Passage:
        """In a dialogue one for all turns, shorter by what is said on average until one of them."""
        mean = float(self._parameters.memory_tokens)
        if dialogue is None:
            return self._texts.new(whole_lognormal(self._rng, mean, MEMORY_SIGMA, 1)[0])
        if (dialogue, agent) not in self._memories:
            mean -= self._parameters.output_tokens * MEAN_SAID
            tokens = whole_lognormal(self._rng, mean, MEMORY_SIGMA, 1)[0]
            self._memories[dialogue, agent] = self._texts.new(tokens)
        return self._memories[dialogue, agent]
