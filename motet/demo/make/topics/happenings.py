"""What happens in the town: news, plans, troubles and stories."""

from collections.abc import Iterator

from motet.demo.make.events import comment, happens, question
from motet.demo.make.scene import Phrases, Scene, Turn
from motet.demo.make.words import ANIMALS, FUTURE, PLACES, THINGS, TOWN, TRADES


def trouble(scene: Scene) -> Iterator[Turn]:
    """The user has lost something or is about to do something."""
    facts = {
        "what": scene.dice.choice((*THINGS, *ANIMALS)),
        "where": scene.dice.choice(PLACES),
        "when": scene.dice.choice(FUTURE),
        "who": scene.name(),
    }
    kinds = (
        (
            (
                "I lost my {what}.",
                "I cannot find my {what}.",
                "My {what} is gone.",
                "My {what} ran away.",
                "Have you seen my {what}?",
            ),
            (
                "I am sorry about your {what}, somebody at {where} may have seen it",
                "let us look for your {what} at {where}",
            ),
            "ask at {where}",
        ),
        (
            (
                "What should I do?",
                "What should I do {when}?",
                "What can I do {when}?",
                "Where should I go {when}?",
            ),
            ("go to {where} {when} and see what is new", "you could go to {where} {when}"),
            "go to {where}",
        ),
        (
            (
                "I am going to {where}.",
                "I will go to {where} {when}.",
                "I want to go to {where}.",
                "Let us go to {where}.",
            ),
            (
                "have a good time at {where} and say hello from me",
                "then I will see you at {where} later",
            ),
            "see you there",
        ),
        (
            (
                "I met {who} at {where}.",
                "I saw {who} at {where} today.",
                "I was with {who} at {where}.",
                "{who} is my friend.",
                "I am waiting for {who}.",
            ),
            (
                "I like {who}, we met long ago",
                "{who} is always good company",
                "I know {who} quite well",
            ),
            "I know {who}",
        ),
    )
    asked, clauses, short = scene.dice.choice(kinds)
    more = ("I hope that all goes well.", "Tell me about it later.", "Do not worry.")
    yield Turn(scene.pick(asked, **facts), scene.answer(clauses, short, more, **facts))


def told(scene: Scene) -> Iterator[Turn]:
    """The user tells what happened and then asks for it."""
    event = happens(scene)
    scene.events.append(event)
    if scene.chance(0.5):
        asked = question(scene, event)
        yield Turn(f"{event.told(scene)}. {asked.user}", asked.answer)
    else:
        yield Turn(f"{event.told(scene)}.", comment(scene, event))
    while scene.chance(0.6):
        yield question(scene, event, is_again=True)


def untold(scene: Scene) -> Iterator[Turn]:
    """The user asks for what nobody has told: the model thinks of something."""
    event = happens(scene)
    yield question(scene, event)
    if scene.chance(0.3):
        asked = ("Are you sure?", "Really?", "Is that true?", "How do you know?")
        who = event.facts.get("who", TOWN)
        clauses = ("yes, everybody who knows {who} says so", "I am quite sure, you can ask {who}")
        yield Turn(scene.pick(asked), scene.answer(clauses, "yes, quite sure", (), who=who))


def news(scene: Scene) -> Iterator[Turn]:
    """What has happened, as far as the conversation knows, else something new."""
    event = scene.dice.choice(scene.events) if scene.events else happens(scene)
    asked = (
        "What is new?",
        "What happened?",
        "What happened today?",
        "Tell me the news.",
        "Any news?",
        "What is going on in town?",
        "What do people talk about?",
    )
    short = "news of {who}" if "who" in event.facts else "a {what}"
    answer = scene.answer(event.kind.told, short, event.kind.remarks, **event.facts)
    yield Turn(scene.pick(asked), answer)
    while scene.chance(0.5):
        yield question(scene, event, is_again=True)


def plans(scene: Scene) -> Iterator[Turn]:
    trade = scene.speaker.trade if scene.speaker else scene.dice.choice(TRADES)
    who, where = scene.name(), scene.dice.choice(PLACES)
    when = scene.dice.choice(FUTURE)
    asked: Phrases = (
        "What will you do today?",
        "What are your plans?",
        "What do you do next?",
        "What will you do {when}?",
        "What do you want to do?",
    )
    work = f"I will {trade.work}" if scene.speaker else "I will walk along the river"
    clauses: Phrases = (
        f"{work} and then meet {{who}} at {{where}}",
        f"first {work}, then I go to {{where}} with {{who}}",
    )
    facts = {"who": who, "where": where}
    yield Turn(
        scene.pick(asked, when=when),
        scene.answer(
            clauses, "I meet {who}", ("It will be a good day.", "You can come too."), **facts
        ),
    )
    if scene.chance(0.4):
        asked = ("Why?", "Why {who}?", "Why there?")
        clauses = ("{who} asked me to come to {where}", "I promised {who} to be there")
        yield Turn(
            scene.pick(asked, **facts),
            scene.answer(clauses, "{who} asked me", ("I keep my word.",), **facts),
        )


def story(scene: Scene) -> Iterator[Turn]:
    who = scene.name()
    whom, what, where = scene.name(who), scene.dice.choice(ANIMALS), scene.dice.choice(PLACES)
    facts = {"who": who, "whom": whom, "what": what, "where": where}
    asked: Phrases = (
        "Tell me a story about {who} and {whom}.",
        "Tell me a story about {who} and a {what}.",
    )
    clauses: Phrases = (
        "one day {who} lost a {what} at {where}, and {whom} found it",
        "{who} had a {what} that ran away to {where}, where {whom} fed it",
        "once {who} and {whom} saw a {what} asleep at {where}",
    )
    if scene.chance(0.4):
        asked = (
            "Tell me a story.",
            "Do you know a story?",
            "Tell me something.",
            "Say something nice.",
        )
    more = (
        "They have been friends since then.",
        "The whole town laughed about it.",
        "That {what} is still here.",
    )
    yield Turn(
        scene.pick(asked, **facts), scene.answer(clauses, "{who} and a {what}", more, **facts)
    )
