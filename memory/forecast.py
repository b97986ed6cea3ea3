"""When an agent will call next: who says so, and how far each of them is to be believed."""

import enum
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from motet.memory.agent import Unit
from motet.memory.clocks import Clock
from motet.memory.owner import Due


class Source(enum.StrEnum):
    """Who says when an agent will call."""

    HINT = "hint"
    """The agent itself, or who retains its state."""
    PUSH = "push"
    """Who simulates its world."""
    TOOL = "tool"
    """How long the tool that it waits for took before."""
    HABIT = "habit"
    """How long it used to be between two calls of the agent."""


PRIOR = {Source.HINT: 0.12, Source.PUSH: 0.08, Source.TOOL: 0.04, Source.HABIT: 0.0}
"""What a source is believed more than its accuracy alone would say: who knows more may be wrong
more often before the others are believed instead."""

LEAST_ACCURACY = 0.3
"""Of a source that is believed at all: beneath it, nothing is known."""

SMOOTHING = 0.05
"""Of accuracies: a source that begins to lie is found out within some twenty calls."""


Said = dict[Source, Due]
"""What each source says of one agent."""


@dataclass(slots=True)
class Track:
    """How right a source was, when the truth came out."""

    belief: float
    """How far to believe it; 0: not at all."""
    accuracy: float = 1.0
    """Moving average; 1: always right. 0: off by as much as it was away, or more."""


@dataclass(slots=True)
class Errors:
    """Of all forecasts of all worlds, by source and unit: for those who watch."""

    num_calls: Counter[str] = field(default_factory=Counter)
    sums: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """In that unit; never by more than the horizon each."""

    def add(self, source: Source, clock: Clock, error: float) -> None:
        key = f"{source}/{Unit.SECONDS if clock.is_real else Unit.STEPS}"
        self.num_calls[key] += 1
        self.sums[key] += min(error, clock.horizon)


@dataclass(slots=True)
class Record:
    """The tracks of all sources in one world."""

    tracks: dict[Source, Track] = field(
        default_factory=lambda: {source: Track(1 + PRIOR[source]) for source in Source}
    )
    errors: Errors = field(default_factory=Errors)

    def came(self, source: Source, due: Due) -> None:
        """The agent calls now."""
        clock, track = due.clock, self.tracks[source]
        was_away = clock.now - due.told
        error = abs(clock.now - due.at)
        accuracy = 1 - min(1.0, error / (was_away + clock.resolution))
        track.accuracy += SMOOTHING * (accuracy - track.accuracy)
        is_believed = track.accuracy >= LEAST_ACCURACY
        track.belief = track.accuracy + PRIOR[source] if is_believed else 0.0
        self.errors.add(source, clock, error)

    def believes(self, source: Source, said: Said) -> bool:
        """Does it say something that may count?"""
        return source in said and self.tracks[source].belief > 0

    def is_first(self, source: Source) -> bool:
        """Is it believed whatever the others say, except for the agents themselves?"""
        others = (s for s in Source if s is not source and s is not Source.HINT)
        belief = self.tracks[source].belief
        return belief > max(self.tracks[other].belief for other in others)

    def best(self, said: Said) -> tuple[Source, Due] | None:
        """What is believed of all that is said of an agent; None: nothing is known."""
        best, most = None, 0.0
        for source, due in said.items():
            belief = self.tracks[source].belief
            if belief > most and due.clock.now <= due.ends:
                best, most = (source, due), belief
        return best
