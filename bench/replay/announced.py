"""What the engine is told of agents: as the trace has it, the truth, nothing, or lies."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from motet.bench.replay.arm import Arm, Hints
from motet.bench.replay.state import TraceState
from motet.client.workloads.trace import Call, Push
from motet.memory.agent import AgentCall, AgentKey, NextUse, Unit

TENANT = ""
NEVER = float("inf")


@dataclass(slots=True)
class Announcements:
    """Of one run. Distances are steps in a stepped world, seconds in a timed one."""

    arm: Arm
    state: TraceState
    gaps: "Gaps"
    rng: random.Random
    _last: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """True distance of each agent at its call before."""

    def with_call(self, call: Call) -> AgentCall:
        key, program = AgentKey(TENANT, call.agent), call.program or call.session
        hints, unit = self.arm.hints, _unit(call)
        if hints is Hints.NONE:
            return AgentCall(key, program, tool=call.tool)
        if hints is Hints.TRUTH:
            kept = self.state.kept_tokens[call.call_id]
            return AgentCall(key, program, NextUse(true_distance(call), unit), keep_tokens=kept)
        if hints.are_lies:
            return AgentCall(key, program, NextUse(self._lie(call), unit), tool=call.tool)
        is_later = call.hint is None or call.arrival_s is not None
        hint = None if is_later or call.hint is None else NextUse(self._noisy(call.hint), unit)
        return AgentCall(key, program, hint, call.is_final, call.tool)

    def after_call(self, call: Call) -> float | None:
        """Seconds from its arrival to the next one, of who calls at given times."""
        if call.arrival_s is None or self.arm.hints is Hints.NONE or self.arm.hints.are_lies:
            return None
        return call.next_s if self.arm.hints is Hints.TRUTH else call.hint

    def push(self, push: Push) -> tuple[tuple[str, float], ...]:
        if self.arm.hints is not Hints.GIVEN:
            return ()
        return tuple(
            (agent, self._noisy(distance) if distance >= 0 else NEVER)
            for agent, distance in push.distances.items()
        )

    def _noisy(self, distance: float) -> float:
        if not self.arm.noise_steps:
            return distance
        return max(0.0, round(distance + self.rng.gauss(0.0, self.arm.noise_steps)))

    def _lie(self, call: Call) -> float:
        if self.arm.hints is Hints.STALE:
            last = self._last[call.agent]
            self._last[call.agent] = true_distance(call)
            return last
        return LIES[self.arm.hints](true_distance(call), self.gaps, self.rng)


@dataclass(frozen=True, slots=True)
class Gaps:
    """Between the calls of an agent."""

    mean: float
    most: float

    @classmethod
    def of(cls, calls: Iterable[Call]) -> "Gaps":
        gaps = [gap for gap in map(true_distance, calls) if gap != NEVER]
        return cls(sum(gaps) / len(gaps), max(gaps)) if gaps else cls(0.0, 0.0)


LIES: dict[Hints, Callable[[float, Gaps, random.Random], float]] = {
    Hints.RANDOM: lambda true, gaps, rng: rng.uniform(0.0, 2 * gaps.mean),
    Hints.REVERSED: lambda true, gaps, rng: max(0.0, gaps.most - true),
    Hints.ZERO: lambda true, gaps, rng: 0.0,
}
"""What is said instead of the true distance."""


def true_distance(call: Call) -> float:
    if call.step is not None:
        return NEVER if call.next_step is None else float(call.next_step - call.step)
    return NEVER if call.next_s is None else call.next_s


def _unit(call: Call) -> Unit:
    return Unit.SECONDS if call.step is None else Unit.STEPS
