"""What happens in the town, and how one tells it, asks for it and answers."""

from motet.demo.make.events.deeds import HELP, ILLNESS, QUARREL, TALK
from motet.demo.make.events.meetings import FEAST, MEETING, PLAN, VISIT
from motet.demo.make.events.things import FIND, GIFT, LOSS, SALE
from motet.demo.make.scene import Answer, Event, Scene, Turn


def happens(scene: Scene) -> Event:
    """Any event, with persons of the scene's kind."""
    kind = scene.dice.choice(list(EVENTS.values()))
    return Event(kind, kind.roll(scene))


def question(scene: Scene, event: Event, *, is_again: bool = False) -> Turn:
    """Asks for one fact of the event; `is_again` where it has just been spoken of."""
    asked = scene.dice.choice(list(event.kind.questions.values()))
    wording = asked.again if is_again and scene.chance(0.6) else asked.asked
    user = scene.pick(wording, **event.facts)
    return Turn(user, scene.answer(asked.clauses, asked.short, event.kind.remarks, **event.facts))


def comment(scene: Scene, event: Event) -> Answer:
    """What one says on hearing of the event: its facts come back."""
    told = scene.pick(event.kind.told, **event.facts)
    clauses = (f"so {told}", f"how good to know that {told}", f"I had not heard that {told}")
    names = [event.facts[key] for key in ("who", "whom") if key in event.facts]
    short = f"{names[0]}? Good to know" if names else "good to know"
    return scene.answer(clauses, short, event.kind.remarks, **event.facts)


EVENTS = {
    "meeting": MEETING,
    "sale": SALE,
    "gift": GIFT,
    "visit": VISIT,
    "illness": ILLNESS,
    "loss": LOSS,
    "find": FIND,
    "plan": PLAN,
    "feast": FEAST,
    "talk": TALK,
    "quarrel": QUARREL,
    "help": HELP,
}
