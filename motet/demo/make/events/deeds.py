"""What one does for another, or to another: care, talk, quarrels, help."""

from motet.demo.make.scene import EventKind, Question, Scene
from motet.demo.make.words import ILLS, PAST, PLACES, SUBJECTS


def _illness(scene: Scene) -> dict[str, str]:
    return {**scene.who_and_whom(), "what": scene.dice.choice(ILLS)}


def _talk(scene: Scene) -> dict[str, str]:
    return {
        **scene.who_and_whom(),
        "what": scene.dice.choice(SUBJECTS),
        "where": scene.dice.choice(PLACES),
    }


def _help(scene: Scene) -> dict[str, str]:
    work = ("the roof", "the fence", "the harvest", "the dishes", "the garden gate", "the old cart")
    return {
        **scene.who_and_whom(),
        "what": scene.dice.choice(work),
        "when": scene.dice.choice(PAST),
    }


ILLNESS = EventKind(
    _illness,
    (
        "{who} has {what} and {whom} looks after {who}",
        "{whom} is looking after {who}, who has {what}",
    ),
    ("we all hope that {who} is well again soon", "the doctor says that it will pass"),
    {
        "who": Question(
            ("Who is ill?", "Who has {what}?", "Who needs {whom}?"),
            ("Who is it?", "Who?"),
            ("{who} has {what} and must rest", "it is {who} who is ill with {what}"),
            "{who}",
        ),
        "what": Question(
            (
                "What is wrong with {who}?",
                "What does {who} have?",
                "Why does {who} stay in bed?",
            ),
            ("What is wrong?", "What is it?"),
            ("{who} has {what} and stays in bed", "{who} is ill with {what}"),
            "{what}",
        ),
        "whom": Question(
            ("Who looks after {who}?", "Who is with {who}?"),
            ("Who helps?", "Is somebody there?"),
            ("{whom} looks after {who} now", "{who} is not alone, {whom} is there"),
            "{whom}",
        ),
    },
)
TALK = EventKind(
    _talk,
    (
        "{who} talked to {whom} about {what} at {where}",
        "{who} and {whom} talked about {what} at {where}",
    ),
    ("they did not agree", "they agreed in the end", "they laughed a lot"),
    {
        "what": Question(
            ("What did {who} and {whom} talk about?", "What did {who} talk about?"),
            ("About what?", "What about?", "What was it about?"),
            (
                "{who} and {whom} talked about {what}",
                "they talked about {what}, {who} and {whom}",
            ),
            "about {what}",
        ),
        "whom": Question(
            ("Who did {who} talk to?", "To whom did {who} talk about {what}?"),
            ("To whom?", "With whom?"),
            ("{who} talked to {whom} at {where}", "{who} talked with {whom} about {what}"),
            "{whom}",
        ),
        "where": Question(
            ("Where did {who} talk to {whom}?", "Where did {who} and {whom} talk?"),
            ("Where?", "Where was that?"),
            ("{who} and {whom} talked at {where}", "{who} talked to {whom} at {where}"),
            "at {where}",
        ),
    },
)
QUARREL = EventKind(
    _talk,
    (
        "{who} and {whom} had a quarrel about {what} at {where}",
        "{who} had a quarrel with {whom} about {what} at {where}",
    ),
    ("everybody heard it", "they will be friends again", "{whom} is still angry"),
    {
        "what": Question(
            ("What did {who} and {whom} quarrel about?", "Why is {whom} angry with {who}?"),
            ("About what?", "What about?", "Why?", "But why?"),
            ("{who} and {whom} had a quarrel about {what}", "it was about {what}, {who} says"),
            "about {what}",
        ),
        "whom": Question(
            ("With whom did {who} quarrel?", "Who had a quarrel with {who}?"),
            ("With whom?", "Who was it?"),
            ("{who} had a quarrel with {whom}", "it was {whom}, who had a quarrel with {who}"),
            "{whom}",
        ),
        "where": Question(
            ("Where did {who} and {whom} quarrel?", "Where did {who} quarrel with {whom}?"),
            ("Where?", "Where was that?"),
            ("{who} had a quarrel with {whom} at {where}", "that was at {where}, with {whom}"),
            "at {where}",
        ),
    },
)
HELP = EventKind(
    _help,
    ("{who} helped {whom} with {what} {when}", "{whom} had help from {who} with {what} {when}"),
    ("{whom} was glad about it", "together it was done quickly", "that is how friends are"),
    {
        "who": Question(
            ("Who helped {whom}?", "Who helped {whom} with {what}?"),
            ("Who was it?", "Who helped?"),
            ("{who} helped {whom} with {what}", "it was {who} who helped {whom}"),
            "{who}",
        ),
        "what": Question(
            ("What did {who} help {whom} with?", "What did {who} do for {whom}?"),
            ("With what?", "What was it?"),
            ("{who} helped {whom} with {what}", "it was {what} that {who} did for {whom}"),
            "{what}",
        ),
        "whom": Question(
            ("Whom did {who} help?", "Who did {who} help {when}?"),
            ("Whom?", "Who got help?"),
            ("{who} helped {whom} with {what}", "it was {whom} who had help from {who}"),
            "{whom}",
        ),
    },
)
