"""Who is where, and when: meetings, visits, plans, feasts."""

from motet.demo.make.scene import EventKind, Question, Scene
from motet.demo.make.words import FEASTS, FUTURE, PAST, PLACES


def _meeting(scene: Scene) -> dict[str, str]:
    return {
        **scene.who_and_whom(),
        "where": scene.dice.choice(PLACES),
        "when": scene.dice.choice(PAST),
    }


def _visit(scene: Scene) -> dict[str, str]:
    amount = scene.dice.choice(("some", "some", "a bag of", "two", "three"))
    return {
        "who": scene.name(),
        "where": scene.dice.choice(PLACES),
        "what": f"{amount} {scene.goods()}",
        "when": scene.dice.choice(PAST),
    }


def _plan(scene: Scene) -> dict[str, str]:
    return {
        **scene.who_and_whom(),
        "where": scene.dice.choice(PLACES),
        "when": scene.dice.choice(FUTURE),
    }


def _feast(scene: Scene) -> dict[str, str]:
    return {
        "what": scene.dice.choice(FEASTS),
        "where": scene.dice.choice(PLACES),
        "when": scene.dice.choice(FUTURE),
    }


MEETING = EventKind(
    _meeting,
    (
        "{who} met {whom} at {where} {when}",
        "{who} and {whom} met at {where} {when}",
        "{who} saw {whom} at {where} {when}",
    ),
    (
        "they talked for a long time",
        "it was good to see them together",
        "{whom} was in a good mood",
        "{who} likes to meet friends there",
    ),
    {
        "where": Question(
            (
                "Where did {who} meet {whom}?",
                "Where did {who} and {whom} meet?",
                "Where did {who} see {whom}?",
            ),
            ("Where?", "Where was that?", "Where did they meet?", "And where?"),
            ("{who} met {whom} at {where}", "they met at {where}, {who} and {whom}"),
            "at {where}",
        ),
        "whom": Question(
            ("Whom did {who} meet?", "Who did {who} meet {when}?", "Who was with {who}?"),
            ("Who?", "Who was there?", "With whom?"),
            ("{who} met {whom} at {where}", "it was {whom} whom {who} met at {where}"),
            "{whom}",
        ),
        "who": Question(
            ("Who met {whom}?", "Who saw {whom} at {where}?", "Who was at {where}?"),
            ("Who was it?", "Who met whom?"),
            ("{who} met {whom} at {where}", "it was {who} who met {whom} at {where}"),
            "{who}",
        ),
        "when": Question(
            ("When did {who} meet {whom}?", "When was {who} at {where}?"),
            ("When?", "When was that?", "And when?"),
            ("{who} met {whom} {when}", "it was {when} that {who} met {whom}"),
            "{when}",
        ),
    },
)
VISIT = EventKind(
    _visit,
    (
        "{who} came to {where} {when} and bought {what}",
        "{when} {who} came to {where} and bought {what}",
        "{when} {who} bought {what} at {where}",
    ),
    ("{who} comes there often", "{who} was in a hurry", "we hope that {who} comes again"),
    {
        "who": Question(
            ("Who came to {where}?", "Who bought {what}?", "Who was at {where} {when}?"),
            ("Who was it?", "Who came?"),
            ("{who} came to {where} and bought {what}", "it was {who}, who bought {what}"),
            "{who}",
        ),
        "what": Question(
            ("What did {who} buy?", "What did {who} buy at {where}?"),
            ("What was it?", "What did they buy?", "And what?"),
            ("{who} bought {what} at {where}", "{who} came for {what}"),
            "{what}",
        ),
        "when": Question(
            ("When did {who} come to {where}?", "When was {who} at {where}?"),
            ("When?", "When was that?"),
            ("{who} came to {where} {when}", "it was {when} that {who} came to {where}"),
            "{when}",
        ),
    },
)
PLAN = EventKind(
    _plan,
    (
        "{who} will meet {whom} at {where} {when}",
        "{who} and {whom} want to meet at {where} {when}",
    ),
    ("they look forward to it", "{whom} will bring some cake", "they have much to talk about"),
    {
        "where": Question(
            ("Where will {who} meet {whom}?", "Where do {who} and {whom} want to meet?"),
            ("Where?", "And where?", "Where will that be?"),
            (
                "{who} will meet {whom} at {where}",
                "they will meet at {where}, {who} and {whom}",
            ),
            "at {where}",
        ),
        "when": Question(
            ("When will {who} meet {whom}?", "When will {who} be at {where}?"),
            ("When?", "And when?", "When will that be?"),
            ("{who} will meet {whom} {when}", "it will be {when} that {who} meets {whom}"),
            "{when}",
        ),
        "whom": Question(
            ("Whom will {who} meet?", "Who will {who} meet {when}?"),
            ("Who?", "With whom?"),
            ("{who} will meet {whom} at {where}", "{who} wants to meet {whom} {when}"),
            "{whom}",
        ),
        "who": Question(
            ("Who will meet {whom}?", "What are the plans of {whom}?"),
            ("Who will come?",),
            ("{whom} will meet {who} at {where}", "{who} will meet {whom} {when}"),
            "{who}",
        ),
    },
)
FEAST = EventKind(
    _feast,
    ("there will be a {what} at {where} {when}", "{when} we have a {what} at {where}"),
    ("there will be music and cake", "the whole town will be there", "you should come too"),
    {
        "what": Question(
            ("What will there be at {where}?", "What happens {when}?"),
            ("What is it?", "What?"),
            ("there will be a {what} at {where}", "{when} there is a {what} at {where}"),
            "a {what}",
        ),
        "where": Question(
            ("Where is the {what}?", "Where will the {what} be?"),
            ("Where?", "And where?", "Where will it be?"),
            ("the {what} will be at {where}", "you find the {what} at {where}"),
            "at {where}",
        ),
        "when": Question(
            ("When is the {what}?", "When will the {what} be?"),
            ("When?", "And when?", "When will it be?"),
            ("the {what} will be {when} at {where}", "it is {when}, the {what} at {where}"),
            "{when}",
        ),
    },
)
