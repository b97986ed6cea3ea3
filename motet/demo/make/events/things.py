"""Things and whose they are: sales, gifts, losses, finds."""

from motet.demo.make.scene import EventKind, Question, Scene
from motet.demo.make.words import ANIMALS, PLACES, THINGS


def _sale(scene: Scene) -> dict[str, str]:
    return {
        **scene.who_and_whom(),
        "what": scene.goods(),
        "where": scene.dice.choice(PLACES),
    }


def _gift(scene: Scene) -> dict[str, str]:
    return {**scene.who_and_whom(), "what": f"a new {scene.dice.choice(THINGS)}"}


def _loss(scene: Scene) -> dict[str, str]:
    what = scene.dice.choice(THINGS + ANIMALS)
    return {"who": scene.name(), "what": what, "where": scene.dice.choice(PLACES)}


SALE = EventKind(
    _sale,
    (
        "{who} sold some {what} to {whom} at {where}",
        "{whom} bought some {what} from {who} at {where}",
    ),
    (
        "it was a fair price for both",
        "{whom} was happy with the {what}",
        "{who} always has good {what}",
    ),
    {
        "what": Question(
            (
                "What did {who} sell to {whom}?",
                "What did {whom} buy?",
                "What did {whom} buy from {who}?",
            ),
            ("What was it?", "What?", "What did they trade?"),
            ("{whom} bought some {what} from {who}", "{who} sold some {what} to {whom}"),
            "some {what}",
        ),
        "whom": Question(
            ("Who bought the {what}?", "To whom did {who} sell the {what}?"),
            ("Who bought it?", "To whom?"),
            ("{whom} bought the {what} from {who}", "{who} sold the {what} to {whom}"),
            "{whom}",
        ),
        "who": Question(
            ("Who sold the {what} to {whom}?", "From whom did {whom} buy the {what}?"),
            ("Who sold it?", "From whom?"),
            ("it was {who} who sold the {what} to {whom}", "{whom} bought it from {who}"),
            "{who}",
        ),
        "where": Question(
            ("Where did {whom} buy the {what}?", "Where did {who} sell the {what}?"),
            ("Where?", "Where was that?"),
            ("{who} sold the {what} to {whom} at {where}", "that was at {where}, with {who}"),
            "at {where}",
        ),
    },
)
GIFT = EventKind(
    _gift,
    ("{who} gave {whom} {what}", "{whom} got {what} from {who}"),
    ("{whom} was very happy", "it was a kind thing to do", "{whom} had wished for it"),
    {
        "what": Question(
            ("What did {who} give {whom}?", "What did {whom} get from {who}?"),
            ("What was it?", "What?"),
            ("{who} gave {whom} {what} as a gift", "{whom} got {what} from {who}"),
            "{what}",
        ),
        "who": Question(
            ("Who gave {whom} {what}?", "From whom is the gift of {whom}?"),
            ("Who was it?", "From whom?"),
            ("{who} gave {what} to {whom}", "the gift for {whom} came from {who}"),
            "{who}",
        ),
        "whom": Question(
            ("Who got {what}?", "Who got a gift from {who}?"),
            ("Who got it?", "For whom?"),
            ("{whom} got {what} from {who}", "the gift of {who} was for {whom}"),
            "{whom}",
        ),
    },
)
LOSS = EventKind(
    _loss,
    ("{who} has lost a {what} near {where}", "{who} lost a {what} at {where}"),
    ("{who} is very sad about it", "let us all look for it", "somebody will find it"),
    {
        "what": Question(
            ("What did {who} lose?", "What is {who} looking for?", "Why is {who} sad?"),
            ("What was it?", "What?"),
            ("{who} lost a {what} near {where}", "{who} is looking for a {what}"),
            "a {what}",
        ),
        "who": Question(
            ("Who lost a {what}?", "Whose {what} is lost?"),
            ("Who was it?", "Who?"),
            ("{who} lost a {what} near {where}", "it was {who} who lost the {what}"),
            "{who}",
        ),
        "where": Question(
            (
                "Where did {who} lose the {what}?",
                "Where should we look for the {what} of {who}?",
            ),
            ("Where?", "Where was that?"),
            ("{who} lost the {what} near {where}", "we should look near {where} with {who}"),
            "near {where}",
        ),
    },
)
FIND = EventKind(
    _loss,
    ("{who} found a {what} at {where}", "{who} has found a {what} near {where}"),
    ("nobody knows whose it is", "{who} asks everybody about it", "it looks quite old"),
    {
        "what": Question(
            ("What did {who} find?", "What did {who} find at {where}?"),
            ("What was it?", "What?"),
            ("{who} found a {what} near {where}", "it was a {what} that {who} found"),
            "a {what}",
        ),
        "who": Question(
            ("Who found a {what}?", "Who found the {what}?"),
            ("Who was it?", "Who found it?"),
            ("{who} found the {what} at {where}", "it was {who} who found the {what}"),
            "{who}",
        ),
        "where": Question(
            ("Where did {who} find the {what}?", "Where was the {what}?"),
            ("Where?", "Where was it?"),
            (
                "{who} found the {what} at {where}",
                "the {what} that {who} found was near {where}",
            ),
            "near {where}",
        ),
    },
)
