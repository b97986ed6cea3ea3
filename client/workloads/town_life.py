"""One town, step by step: where its agents go, when they think, and whom they talk with."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 100, 140
PERCEPTION = 4
STEPS_PER_HOUR = 360
STEPS_PER_DAY = 24 * STEPS_PER_HOUR

CALLS_BY_HOUR = (
    *(100, 0, 0, 0, 0, 100, 870, 2000, 3200, 3600, 3900, 4500),
    *(5000, 4600, 4000, 3700, 3600, 3700, 3700, 3200, 2700, 2000, 1500, 900),
)
"""Of 25 agents: 57 thousand in a day. Who has just got up has an action before it in which it makes
none, which takes 8 % off the first hour."""
ASLEEP_BY, AWAKE_FROM = 1, 5
"""All go to bed in the hour before the first, and get up in the hour after the second."""

NUM_PLACES = 12
"""Where agents of a town may go, besides home."""
NOON_PLACES = 3
"""Where they go for lunch."""
MEAN_STAY = 60
"""Steps at a place."""

MIN_CHAIN, MAX_CHAIN = 1, 4
"""Calls of one decision, one after the other."""
ACTION_SIGMA = 0.5
MIN_TURNS, MAX_TURNS = 4, 8
"""Calls of a dialogue."""
TURNS_PER_STEP = 2
TALK_PROBABILITY = 0.2
"""In a step, of two who see each other and have not talked for a while."""
COOLDOWN = 180
"""Steps until the same two talk again."""
FAR = 2**30
WARM_UP = STEPS_PER_HOUR
"""Steps that a town has lived before the first one of a trace."""


class Turn(NamedTuple):
    """A call of the agent; what it says in a dialogue, if it is in one."""

    agent: int
    dialogue: int | None


@dataclass(slots=True)
class _Dialogue:
    number: int
    speakers: tuple[int, int]
    turns_left: int
    num_turns: int = 0


class TownLife:
    """Who makes calls acts the longer thereafter, so that talking does not change how many calls
    there are in an hour."""

    def __init__(
        self,
        rng: np.random.Generator,
        dialogues: Iterator[int],
        *,
        num_agents: int,
        activity: float,
        start_hour: int,
    ) -> None:
        """Takes the numbers of its dialogues from `dialogues`."""
        self._rng, self._dialogues = rng, dialogues
        self._num_agents = num_agents
        self._now = -WARM_UP
        self._day_step = (start_hour * STEPS_PER_HOUR - WARM_UP) % STEPS_PER_DAY
        extent = (WIDTH, HEIGHT)
        self._homes = rng.integers(0, extent, (num_agents, 2))
        self._places = rng.integers(0, extent, (NUM_PLACES, 2))
        self._bed = rng.integers(0, STEPS_PER_HOUR, num_agents)
        self._wake = AWAKE_FROM * STEPS_PER_HOUR + rng.integers(0, STEPS_PER_HOUR, num_agents)
        self._positions = self._homes.copy()
        self._goals = self._homes.copy()
        self._leaves = np.zeros(num_agents, np.int64)
        """When each goes elsewhere."""
        self._acts_until = np.zeros(num_agents, np.int64)
        """When each decides again, unless it talks before."""
        self._may_talk = np.full((num_agents, num_agents), self._now)
        """When two who meet may talk again."""
        self._dialogue_of: dict[int, _Dialogue] = {}
        self._pace = _Pace(activity, start_hour)
        self._calls_due = np.zeros(num_agents)
        """Where each one's action ends, in calls: what it may have made until then."""
        self._begin()
        self._until_meeting = self._meetings()
        while self._now < 0:
            self.step()

    def _begin(self) -> None:
        """In the middle of a day: everybody is somewhere, and has been acting for a while."""
        for agent in range(self._num_agents):
            self._go_elsewhere(agent)
            if self._sleeps(agent):
                self._positions[agent] = self._goals[agent] = self._homes[agent]
                self._sleep(agent)
            else:
                self._positions[agent] = self._goals[agent]
                self._leaves[agent] = self._now + self._rng.integers(MEAN_STAY)
                self._calls_due[agent] = self._pace.calls_until(self._now)
                self._act(agent, MAX_CHAIN * self._rng.random())

    def step(self) -> list[Turn]:
        """The calls of this step, an agent's in order; then everybody moves."""
        turns: list[Turn] = []
        self._meet()
        for dialogue in list({id(talk): talk for talk in self._dialogue_of.values()}.values()):
            turns += self._talk(dialogue)
        for agent in np.flatnonzero(self._acts_until <= self._now).tolist():
            if agent not in self._dialogue_of:
                turns += self._decide(agent)
        self._move()
        self._now += 1
        self._day_step = (self._day_step + 1) % STEPS_PER_DAY
        self._until_meeting = self._meetings()
        return turns

    def distances(self) -> list[int]:
        """What the town can know of each agent's next call, in steps from the one that comes now.

        It calls when its action ends, or when it meets somebody, if both want to talk: not before
        the gap is closed, nor before they have not talked for a while.
        """
        acting = np.maximum(self._acts_until - self._now, 0)
        expected = np.minimum(acting, self._until_meeting.min(axis=1, initial=FAR))
        expected[list(self._dialogue_of)] = 0
        return [int(distance) for distance in expected]

    def _meetings(self) -> NDArray[np.int64]:
        """Steps until each two may talk at the earliest, as they move now. [agents, agents]"""
        moving = (self._positions != self._goals).any(axis=1)
        speed = np.add.outer(moving.astype(np.int64), moving)
        gap = np.maximum(self._gaps() - PERCEPTION, 0)
        closed = np.where(gap == 0, 0, np.where(speed > 0, -(-gap // np.maximum(speed, 1)), FAR))
        until: NDArray[np.int64] = np.maximum(closed, self._may_talk - self._now)
        busy = self._busy()
        until[busy] = FAR
        until[:, busy] = FAR
        np.fill_diagonal(until, FAR)
        return until

    def _gaps(self) -> NDArray[np.int64]:
        """Tiles between each two: diagonal steps are steps. [agents, agents]"""
        difference = self._positions[:, None] - self._positions[None]
        return np.asarray(np.abs(difference).max(axis=2))

    def _busy(self) -> NDArray[np.bool_]:
        """Who does not talk with anybody new."""
        busy = (self._bed <= self._day_step) & (self._day_step < self._wake)
        busy[list(self._dialogue_of)] = True
        return busy

    def _meet(self) -> None:
        may = np.triu(self._until_meeting == 0, 1)
        for one, other in np.argwhere(may).tolist():
            if one in self._dialogue_of or other in self._dialogue_of:
                continue
            if self._rng.random() < TALK_PROBABILITY:
                turns = int(self._rng.integers(MIN_TURNS, MAX_TURNS + 1))
                dialogue = _Dialogue(next(self._dialogues), (one, other), turns)
                self._dialogue_of |= {one: dialogue, other: dialogue}

    def _talk(self, dialogue: _Dialogue) -> list[Turn]:
        turns = []
        for _ in range(min(TURNS_PER_STEP, dialogue.turns_left)):
            turns.append(Turn(dialogue.speakers[dialogue.num_turns % 2], dialogue.number))
            dialogue.num_turns += 1
            dialogue.turns_left -= 1
        if not dialogue.turns_left:
            self._end(dialogue)
        return turns

    def _end(self, dialogue: _Dialogue) -> None:
        one, other = dialogue.speakers
        self._may_talk[one, other] = self._may_talk[other, one] = self._now + COOLDOWN
        for place, agent in enumerate(dialogue.speakers):
            del self._dialogue_of[agent]
            num_calls = (dialogue.num_turns + 1 - place) // 2
            self._act(agent, num_calls)

    def _decide(self, agent: int) -> list[Turn]:
        """What to do now: a chain of calls, or going to bed without any."""
        if self._sleeps(agent):
            self._sleep(agent)
            return []
        num_calls = int(self._rng.integers(MIN_CHAIN, MAX_CHAIN + 1))
        self._act(agent, num_calls)
        return [Turn(agent, None)] * num_calls

    def _act(self, agent: int, num_calls: float) -> None:
        """For as long as so many calls are worth."""
        drawn = self._rng.lognormal(-(ACTION_SIGMA**2) / 2, ACTION_SIGMA)
        self._calls_due[agent] += num_calls * drawn
        until = self._pace.step_of(self._calls_due[agent])
        self._acts_until[agent] = max(until, self._now + 1)

    def _sleep(self, agent: int) -> None:
        self._goals[agent] = self._homes[agent]
        wakes = self._now + int((self._wake[agent] - self._day_step) % STEPS_PER_DAY)
        self._acts_until[agent] = wakes
        self._calls_due[agent] = self._pace.calls_until(wakes)

    def _move(self) -> None:
        for agent in np.flatnonzero(self._leaves <= self._now).tolist():
            if not self._sleeps(agent):
                self._go_elsewhere(agent)
        way = np.sign(self._goals - self._positions)
        way[list(self._dialogue_of)] = 0
        self._positions += way

    def _go_elsewhere(self, agent: int) -> None:
        is_noon = self._day_step // STEPS_PER_HOUR in (12, 13)
        place = int(self._rng.integers(NOON_PLACES if is_noon else NUM_PLACES))
        stays_home = self._rng.random() < 0.25
        self._goals[agent] = self._homes[agent] if stays_home else self._places[place]
        way = int(np.abs(self._goals[agent] - self._positions[agent]).max())
        self._leaves[agent] = self._now + way + 1 + int(self._rng.exponential(MEAN_STAY))

    def _sleeps(self, agent: int) -> bool:
        return bool(self._bed[agent] <= self._day_step < self._wake[agent])


class _Pace:
    """How many calls an agent that is always awake makes from the first midnight on."""

    def __init__(self, activity: float, start_hour: int) -> None:
        by_hour = np.array(CALLS_BY_HOUR) * (activity * STEPS_PER_HOUR / max(CALLS_BY_HOUR))
        self._calls = np.concatenate([[0.0], np.cumsum(by_hour)])
        self._steps = np.arange(0.0, STEPS_PER_DAY + 1, STEPS_PER_HOUR)
        self._start = start_hour * STEPS_PER_HOUR

    def calls_until(self, step: int) -> float:
        """Until `step` begins."""
        days, rest = divmod(step + self._start, STEPS_PER_DAY)
        return float(days * self._calls[-1] + np.interp(rest, self._steps, self._calls))

    def step_of(self, calls: float) -> int:
        """In which so many will have been made."""
        days, rest = divmod(calls, self._calls[-1])
        step = days * STEPS_PER_DAY + np.interp(rest, self._calls, self._steps)
        return int(step) - self._start
