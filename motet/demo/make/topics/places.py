"""What the town is like: its places, its goods, its weather."""

from collections.abc import Iterator

from motet.demo.make.scene import Phrases, Scene, Turn
from motet.demo.make.words import PLACES, TOWN, TRADES, WEATHER


def weather(scene: Scene) -> Iterator[Turn]:
    now = scene.weather_now()
    if scene.weather is None and scene.chance(0.35):  # the user says it
        now = scene.dice.choice(WEATHER)
        clauses: Phrases = (
            "yes, {weather} and we all feel it",
            "so it is, {weather} in all of {town}",
        )
        answer = scene.answer(
            clauses, "yes, {name}", (now.advice,), weather=now.clause, name=now.name
        )
        yield Turn(f"{now.clause[0].upper()}{now.clause[1:]}.", answer)
    asked = ("What is the weather like?", "How is the weather?", "How is the weather today?")
    clauses = ("today {weather} here in {town}", "it is a {name} day, for {weather}")
    facts = {"weather": now.clause, "name": now.name}
    yield Turn(scene.pick(asked), scene.answer(clauses, "{name}", (now.advice,), **facts))


def town(scene: Scene) -> Iterator[Turn]:
    """What everybody knows of it."""
    trade = scene.dice.choice(TRADES)
    place = {"where": trade.place, "trade": trade.title}
    kinds: tuple[tuple[Phrases, Phrases, str, dict[str, str]], ...] = (
        (
            (
                "Tell me about the town.",
                "What is this town?",
                "Tell me about {town}.",
                "What is {town} like?",
                "Where am I?",
                "What is this place?",
            ),
            (
                "{where} is a small town by the river, with a market, a mill and an old bridge",
                "this is {where}, a quiet town with a market at the square and a mill by the river",
            ),
            "a small town",
            {"where": TOWN},
        ),
        (
            ("What can I see here?", "What is there to see?", "Where should I go first?"),
            ("go to {where} and then walk over the old bridge", "you should see {where} first"),
            "{where}",
            {"where": scene.dice.choice(PLACES)},
        ),
        (
            (
                "Who lives here?",
                "Who lives in the town?",
                "Whom should I meet?",
                "Who do you know?",
            ),
            (
                "many good people live here, such as {who} the {trade}",
                "you should meet {who}, who is the {trade} of the town",
            ),
            "{who} the {trade}",
            {"who": trade.holder, "trade": trade.title},
        ),
        (
            ("What can I do here?", "What do people do here?", "What is there to do today?"),
            ("you can see the {trade} at {where} or walk along the river",),
            "go to {where}",
            place,
        ),
        (
            ("Where can I sleep?", "Where can I stay?", "Is there a bed for me?"),
            ("you can sleep at {where}, where Hugo has a warm bed for you",),
            "at {where}",
            {"where": "the inn"},
        ),
        (
            ("Where can I eat?", "Where do I get some food?", "What should I eat?"),
            ("at the inn there is warm soup, and at {where} you get fresh bread",),
            "at {where}",
            {"where": "the bakery"},
        ),
        (
            ("Do you like it here?", "Is it a good town?", "Do you like the town?"),
            ("yes, I like {where}, because everybody knows everybody here",),
            "yes, very much",
            {"where": TOWN},
        ),
        (
            ("What time is it?", "How late is it?", "Is it late?"),
            ("the bell of the tower has just rung, so it is {when}",),
            "it is {when}",
            {"when": scene.dice.choice(("noon", "still early", "evening", "past noon"))},
        ),
    )
    asked, clauses, short, facts = scene.dice.choice(kinds)
    more = ("Stay for a while.", "People here are friendly.", "You will like it.")
    yield Turn(scene.pick(asked), scene.answer(clauses, short, more, **facts))


def way(scene: Scene) -> Iterator[Turn]:
    where, near = scene.dice.sample(PLACES, 2)
    asked: Phrases = (
        "Where is {where}?",
        "How do I get to {where}?",
        "Can you show me the way to {where}?",
    )
    clauses: Phrases = (
        "{where} is just behind {near}",
        "go past {near} and you will see {where}",
        "you find {where} not far from {near}",
    )
    more = ("It is a short walk.", "You cannot miss it.", "I can walk with you.")
    facts = {"where": where, "near": near}
    yield Turn(scene.pick(asked, **facts), scene.answer(clauses, "behind {near}", more, **facts))
    if scene.chance(0.3):
        asked = ("Is it far?", "How far is it?", "Is that far from here?")
        clauses = ("no, {where} is only a short walk from here",)
        yield Turn(scene.pick(asked), scene.answer(clauses, "not far at all", (), where=where))


def shopping(scene: Scene) -> Iterator[Turn]:
    trade = scene.dice.choice(TRADES)
    what = scene.dice.choice(trade.goods)
    asked: Phrases = (
        "Where can I buy {what}?",
        "I want to buy some {what}.",
        "Who sells {what}?",
        "I need {what}.",
        "Where do I get some {what}?",
        "Do you have {what}?",
    )
    if scene.speaker is not None and scene.speaker.trade is trade:
        clauses: Phrases = (
            "yes, I have some good {what} here at {where}",
            "take as much {what} as you like",
        )
        facts = {"what": what, "where": trade.place}
        yield Turn(
            scene.pick(asked, **facts), scene.answer(clauses, "some {what}, here", (), **facts)
        )
        return
    facts = {"what": what, "who": trade.holder, "where": trade.place}
    clauses = (
        f"{{who}} the {trade.title} has good {{what}} at {{where}}",
        "you get {what} from {who} at {where}",
    )
    more = ("Tell {who} that I sent you.", "Go early, before it is all gone.", "It is not dear.")
    answer = scene.answer(clauses, "{who} has {what}", more, **facts)
    yield Turn(scene.pick(asked, **facts), answer)
    if scene.chance(0.35):
        asked = ("How much is it?", "What does it cost?", "Is it dear?")
        clauses = (
            "{who} asks a fair price for {what}",
            "the {what} from {who} costs only a few coins",
        )
        yield Turn(
            scene.pick(asked),
            scene.answer(clauses, "a few coins", more, what=what, who=facts["who"]),
        )
