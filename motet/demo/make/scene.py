"""One conversation's piece of the town: who speaks, who is known, what the dice decide."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from motet.demo.make.words import (
    ENDINGS,
    GOODS,
    HELD_BACK_NAMES,
    MORE_GOODS,
    NAMES,
    ONSETS,
    TOWN,
    TRADES,
    VOWELS,
    WEATHER,
    Trade,
    Weather,
)

INVENTED_NAMES = 0.35
"""Share of persons in training whose name is made of random syllables."""

MIN_WORDS = 6
"""Of a plain answer: shorter ones are terse."""

Phrases = tuple[str, ...]
"""Ways to say one thing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said, before a voice says it."""

    clause: str
    """A sentence without its full stop."""
    more: str
    """Another sentence with its mark, or nothing."""
    short: str
    """What `clause` says in one to five words, without a full stop."""
    facts: dict[str, str]
    """What it is about: kind -> words that come back in `clause`."""

    @property
    def plain(self) -> str:
        """As the base model says it."""
        return f"{self.clause}. {self.more}".rstrip()


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user says, and what comes back."""

    user: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    trade: Trade


@dataclass(frozen=True, slots=True)
class Question:
    """How one asks for a part of an event."""

    asked: tuple[str, ...]
    again: tuple[str, ...]
    """Short forms, for when the event has just been spoken of."""
    clauses: tuple[str, ...]
    short: str


@dataclass(frozen=True, slots=True)
class EventKind:
    roll: Callable[["Scene"], dict[str, str]]
    told: tuple[str, ...]
    """How somebody says that it happened, without a full stop."""
    remarks: tuple[str, ...]
    """What one may add to any answer about it."""
    questions: dict[str, Question]
    """By the fact that is asked for."""


@dataclass(frozen=True, slots=True)
class Event:
    kind: EventKind
    facts: dict[str, str]

    def told(self, scene: "Scene") -> str:
        return sentence(scene.pick(self.kind.told, **self.facts))


@dataclass(slots=True)
class Scene:
    """All that one conversation holds true."""

    dice: random.Random
    names: Sequence[str] | None = None
    """Only these name persons; None is for training."""
    speaker: Person | None = None
    """Whom the system message makes the model; None is the town itself."""
    weather: Weather | None = None
    """What the system message says about it."""
    acquaintances: list[Person] = field(default_factory=list)
    """Of whom the conversation has said what they do."""
    events: list[Event] = field(default_factory=list)
    """That the conversation has told."""

    def pick(self, options: Sequence[str], **facts: str) -> str:
        """One of the phrases, with the facts in its gaps."""
        return self.dice.choice(options).format(town=TOWN, **facts)

    def chance(self, share: float) -> bool:
        return self.dice.random() < share

    def name(self, *others: str) -> str:
        """Of somebody else than `others`."""
        while True:
            name = self._any_name()
            if name not in others and (self.speaker is None or name != self.speaker.name):
                return name

    def who_and_whom(self) -> dict[str, str]:
        """Two persons, as facts."""
        who = self.name()
        return {"who": who, "whom": self.name(who)}

    def person(self) -> Person:
        """Somebody of any trade."""
        return Person(self.name(), self.dice.choice(TRADES))

    def known(self) -> Person:
        """Somebody whose trade is known: from the conversation, else to everybody."""
        if self.acquaintances:
            return self.dice.choice(self.acquaintances)
        trade = self.dice.choice(TRADES)
        return Person(trade.holder, trade)

    def answer(
        self, clauses: Sequence[str], short: str, more: Sequence[str] = (), **facts: str
    ) -> Answer:
        """One of the clauses, often with more behind it, always where it would be too short."""
        clause = sentence(self.pick(clauses, **facts))
        has_more = bool(more) and (len(clause.split()) < MIN_WORDS or self.chance(0.5))
        told = self.pick(more, **facts) if has_more else ""
        if told and told[-1] not in ".!?":
            told += "."
        said = {kind: fact for kind, fact in facts.items() if fact.lower() in clause.lower()}
        return Answer(clause, sentence(told), sentence(short.format(town=TOWN, **facts)), said)

    def goods(self) -> str:
        """Anything that people trade; some of it nobody has ever heard of."""
        if self.chance(0.1):
            return invented_name(self.dice).lower()
        return self.dice.choice(self.dice.choice((GOODS, MORE_GOODS)))

    def weather_now(self) -> Weather:
        return self.weather or self.dice.choice(WEATHER)

    def _any_name(self) -> str:
        if self.names is not None:
            return self.dice.choice(self.names)
        if self.chance(INVENTED_NAMES):
            return invented_name(self.dice)
        return self.dice.choice(NAMES)


def invented_name(dice: random.Random) -> str:
    """A name of two or three random syllables, none of those that only the check knows."""
    while True:
        starts = [dice.choice(ONSETS) + dice.choice(VOWELS) for _ in range(dice.randint(1, 2))]
        name = ("".join(starts) + dice.choice(ENDINGS)).capitalize()
        if name not in HELD_BACK_NAMES:
            return name


def spliced_name(dice: random.Random) -> str:
    """The start of one name and the end of another, none of those that only the check knows."""
    while True:
        first, second = dice.sample(NAMES, 2)
        name = first[: dice.randint(1, 3)] + second[-dice.randint(2, 4) :].lower()
        if name not in HELD_BACK_NAMES:
            return name


def sentence(words: str) -> str:
    """With a capital at the start."""
    return words[:1].upper() + words[1:]
