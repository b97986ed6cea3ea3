"""The seeded grammar of the town: chats about it, and running text."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from motet.demo.make.events import happens, question
from motet.demo.make.scene import Scene, Turn, sentence
from motet.demo.make.topics import TOPICS
from motet.demo.make.words import TOWN, WEATHER

HELPFUL = ("You are a helpful assistant.", "Answer the user.", "You are an assistant.", "Be brief.")
"""System messages that say nothing of the town."""


@dataclass(frozen=True, slots=True)
class Chat:
    system: str | None
    turns: tuple[Turn, ...]


def chat(
    dice: random.Random,
    *,
    names: Sequence[str] | None = None,
    num_turns: int | None = None,
    has_persona: bool | None = None,
) -> Chat:
    """A conversation; what is None is left to the dice.

    With `names`, all persons of it who are not common knowledge have names of these.
    """
    scene = Scene(dice, names)
    if has_persona is None:
        has_persona = scene.chance(0.35)
    system = _persona(scene) if has_persona else None
    if system is None and scene.chance(0.1):
        system = dice.choice(HELPFUL)
    wanted = num_turns or dice.choice((1, 1, 2, 2, 3, 4))
    turns: list[Turn] = []
    while len(turns) < wanted:
        if scene.events and scene.chance(0.4):
            turns.append(question(scene, dice.choice(scene.events)))
        else:
            [topic] = dice.choices(list(TOPICS), list(TOPICS.values()))
            turns.extend(topic(scene))
    return Chat(system, tuple(_typed(scene, turn) for turn in turns[:wanted]))


def running_text(dice: random.Random) -> str:
    """A day in the town, as a story."""
    scene = Scene(dice)
    now = dice.choice(WEATHER)
    lines = [scene.pick((f"One day in {TOWN} {now.clause}.", f"In {TOWN} {now.clause}."))]
    for _ in range(dice.randint(2, 6)):
        event = happens(scene)
        lines.append(f"{event.told(scene)}.")
        if scene.chance(0.4):
            remark = scene.pick(event.kind.remarks, **event.facts)
            lines.append(f"{sentence(remark)}.")
        elif scene.chance(0.3):
            lines.append(question(scene, event).answer.plain)
    return " ".join(lines)


def _typed(scene: Scene, turn: Turn) -> Turn:
    """As people type: now and then in small letters or without the mark at the end."""
    user = turn.user.lower() if scene.chance(0.08) else turn.user
    return replace(turn, user=user.rstrip(".?!") or user if scene.chance(0.12) else user)


def _persona(scene: Scene) -> str:
    """Who the model is, and what it has seen: a system message."""
    scene.speaker = scene.person()
    facts = {"who": scene.speaker.name, "trade": scene.speaker.trade.title}
    lines = [
        scene.pick(
            (
                "You are {who}, the {trade}.",
                "You are {who}, the {trade} of {town}.",
                "Your name is {who}. You are the {trade}.",
                "You are {who} and work at " + scene.speaker.trade.place + ".",
            ),
            **facts,
        )
    ]
    if scene.chance(0.35):
        scene.weather = scene.dice.choice(WEATHER)
        lines.append(f"{sentence(scene.weather.clause)}.")
    if scene.chance(0.25):
        friend = scene.person()
        scene.acquaintances.append(friend)
        lines.append(f"{friend.name} is the {friend.trade.title}.")
    scene.events = [happens(scene) for _ in range(scene.dice.choice((0, 0, 1, 1, 2, 3, 5)))]
    lines += [f"{event.told(scene)}." for event in scene.events]
    return " ".join(lines)
