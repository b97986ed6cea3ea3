"""What happens in the town, and how one tells it, asks for it and answers."""

from motet.bench.demo_model.scene import Answer, Event, EventKind, Question, Scene, Turn
from motet.bench.demo_model.words import (
    ANIMALS,
    FEASTS,
    FUTURE,
    ILLS,
    PAST,
    PLACES,
    SUBJECTS,
    THINGS,
)


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


def _two(scene: Scene) -> dict[str, str]:
    who = scene.name()
    return {"who": who, "whom": scene.name(who)}


def _meeting(scene: Scene) -> dict[str, str]:
    return {
        **_two(scene),
        "where": scene.dice.choice(PLACES),
        "when": scene.dice.choice(PAST),
    }


def _sale(scene: Scene) -> dict[str, str]:
    return {
        **_two(scene),
        "what": scene.goods(),
        "where": scene.dice.choice(PLACES),
    }


def _gift(scene: Scene) -> dict[str, str]:
    return {**_two(scene), "what": f"a new {scene.dice.choice(THINGS)}"}


def _visit(scene: Scene) -> dict[str, str]:
    amount = scene.dice.choice(("some", "some", "a bag of", "two", "three"))
    return {
        "who": scene.name(),
        "where": scene.dice.choice(PLACES),
        "what": f"{amount} {scene.goods()}",
        "when": scene.dice.choice(PAST),
    }


def _illness(scene: Scene) -> dict[str, str]:
    return {**_two(scene), "what": scene.dice.choice(ILLS)}


def _loss(scene: Scene) -> dict[str, str]:
    what = scene.dice.choice(THINGS + ANIMALS)
    return {"who": scene.name(), "what": what, "where": scene.dice.choice(PLACES)}


def _plan(scene: Scene) -> dict[str, str]:
    return {
        **_two(scene),
        "where": scene.dice.choice(PLACES),
        "when": scene.dice.choice(FUTURE),
    }


def _feast(scene: Scene) -> dict[str, str]:
    return {
        "what": scene.dice.choice(FEASTS),
        "where": scene.dice.choice(PLACES),
        "when": scene.dice.choice(FUTURE),
    }


def _talk(scene: Scene) -> dict[str, str]:
    return {
        **_two(scene),
        "what": scene.dice.choice(SUBJECTS),
        "where": scene.dice.choice(PLACES),
    }


def _help(scene: Scene) -> dict[str, str]:
    work = ("the roof", "the fence", "the harvest", "the dishes", "the garden gate", "the old cart")
    return {**_two(scene), "what": scene.dice.choice(work), "when": scene.dice.choice(PAST)}


EVENTS = {
    "meeting": EventKind(
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
    ),
    "sale": EventKind(
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
    ),
    "gift": EventKind(
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
    ),
    "visit": EventKind(
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
    ),
    "illness": EventKind(
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
    ),
    "loss": EventKind(
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
    ),
    "find": EventKind(
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
    ),
    "plan": EventKind(
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
    ),
    "feast": EventKind(
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
    ),
    "talk": EventKind(
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
    ),
    "quarrel": EventKind(
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
    ),
    "help": EventKind(
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
    ),
}
"""Kind of event -> all about it."""
