"""Who lives in the town: the speaker, its trades, its strangers."""

from collections.abc import Iterator

from motet.demo.make.scene import Person, Phrases, Scene, Turn
from motet.demo.make.words import GOODS, PAST, PLACES, TOWN, Trade


def identity(scene: Scene) -> Iterator[Turn]:
    asked = ("Who are you?", "What is your name?", "Tell me about yourself.", "And who are you?")
    if scene.speaker is None:
        clauses: Phrases = (
            "I am the voice of {town}, a small town by the river",
            "I speak for {town}, a small town by the river",
        )
        more: Phrases = ("I know everybody here.", "Ask me about the people and the places here.")
        yield Turn(scene.pick(asked), scene.answer(clauses, "the voice of {town}", more, who=TOWN))
        return
    name, trade = scene.speaker.name, scene.speaker.trade
    clauses = ("I am {who}, the {trade} of {town}", "my name is {who} and I am the {trade} here")
    more = (f"You find me at {trade.place}.", f"I {trade.work} every day.")
    facts = {"who": name, "trade": trade.title}
    yield Turn(scene.pick(asked), scene.answer(clauses, "{who}, the {trade}", more, **facts))
    if scene.chance(0.5):
        yield from _own_work(scene, scene.speaker)


def _own_work(scene: Scene, speaker: Person) -> Iterator[Turn]:
    trade = speaker.trade
    kinds = (
        (
            ("What do you do?", "What is your work?", "What do you do all day?"),
            (f"I am the {{trade}} of {TOWN} and I {trade.work}",),
            "I {work}",
        ),
        (
            ("Where do you work?", "Where can I find you?"),
            ("you find me at {where} every day", "I work at {where} from early to late"),
            "at {where}",
        ),
        (
            ("What do you sell?", "What do you have today?", "What can I buy from you?"),
            ("today I have some {what} for you at {where}", "I sell {what} here at {where}"),
            "some {what}",
        ),
    )
    asked, clauses, short = scene.dice.choice(kinds)
    facts = {
        "trade": trade.title,
        "where": trade.place,
        "what": scene.dice.choice(trade.goods),
        "work": trade.work,
    }
    more = ("I like my work.", "Come and see me there.", "There is always much to do.")
    yield Turn(scene.pick(asked), scene.answer(clauses, short, more, **facts))


def trades(scene: Scene) -> Iterator[Turn]:
    """Who does what: told by the system message, by the user, or known to everybody."""
    person = scene.known()
    if scene.chance(0.4):
        person = scene.person()
        scene.acquaintances.append(person)
        facts = _of(person)
        said = scene.pick(
            ("{who} is the {trade}.", "{who} works at {where}.", "{who} is our new {trade}."),
            **facts,
        )
        clauses = (
            "so {who} is the {trade} and works at {where}",
            "I know {who}, the {trade} at {where}",
        )
        yield Turn(said, scene.answer(clauses, "{who}, the {trade}", _PRAISE, **facts))
    facts = _of(person)
    kinds = (
        (
            ("Who is the {trade}?", "Who works at {where}?", "Do you know the {trade}?"),
            ("{who} is the {trade} and works at {where}", "the {trade} here is {who}"),
            "{who}",
        ),
        (
            ("Where does {who} work?", "Where do I find {who}?", "Where is {who}?"),
            ("{who} works at {where}, as every {trade} does", "you find {who} at {where} all day"),
            "at {where}",
        ),
        (
            ("What does {who} do?", "Who is {who}?", "Do you know {who}?", "Tell me about {who}."),
            ("{who} is the {trade} of {town}", "{who} is our {trade} and sells {what} at {where}"),
            "the {trade}",
        ),
        (
            ("Is {who} a good {trade}?", "Is {who} good at it?", "Do you like {who}?"),
            (
                "yes, {who} is a good {trade}, the best of {town}",
                "{who} is the best {trade} I know",
            ),
            "yes, very good",
        ),
        (
            ("What does {who} sell?", "What can I buy from {who}?", "What do I get at {where}?"),
            ("{who} sells good {what} at {where}", "you can buy {what} from {who}, the {trade}"),
            "some {what}",
        ),
    )
    asked, clauses, short = scene.dice.choice(kinds)
    yield Turn(scene.pick(asked, **facts), scene.answer(clauses, short, _PRAISE, **facts))


_PRAISE = ("Everybody likes {who}.", "{who} works hard.", "{who} is a good neighbour.")


def _of(person: Person) -> dict[str, str]:
    trade: Trade = person.trade
    return {
        "who": person.name,
        "trade": trade.title,
        "where": trade.place,
        "what": trade.goods[0],
    }


def stranger(scene: Scene) -> Iterator[Turn]:
    """Somebody of whom nothing has been said."""
    who, where = scene.name(), scene.dice.choice(PLACES)
    when, what = scene.dice.choice(PAST), scene.dice.choice(GOODS)
    facts = {"who": who, "where": where}
    kinds = (
        (
            (
                "Where is {who}?",
                "Have you seen {who}?",
                "I am looking for {who}.",
                "Did you see {who}?",
            ),
            (f"I saw {{who}} at {{where}} {when}", "{who} went to {where}, I believe"),
            "at {where}",
            ("Go and look for {who} there.", "{who} did not stay long."),
        ),
        (
            (
                "Do you know {who}?",
                "Who is {who}?",
                "Tell me about {who}.",
                "What do you know about {who}?",
                "What is new with {who}?",
                "Tell me some gossip about {who}.",
                "What about {who}?",
            ),
            (
                "yes, {who} lives near {where}",
                "I know {who} from {where}",
                "{who} lives in the house behind {where}",
            ),
            "from {where}",
            (f"{{who}} likes {what}.", "{who} is a friend of mine.", "Everybody likes {who}."),
        ),
        (
            (
                "How is {who}?",
                "Is {who} well?",
                "What is {who} doing?",
                "What does {who} do today?",
            ),
            ("{who} is well and busy at {where}", "{who} has much to do at {where} today"),
            "busy at {where}",
            (f"I met {{who}} {when}.", "{who} will be glad that you ask."),
        ),
        (
            (
                "Tell {who} that I am here.",
                "Say hello to {who}.",
                "Please tell {who} to come to {where}.",
            ),
            ("I will tell {who} when we meet at {where}", "{who} will hear it from me at {where}"),
            "I will tell {who}",
            ("{who} will be glad.", "You can count on me."),
        ),
        (
            ("What does {who} like?", "What can I give {who}?", "What should I bring {who}?"),
            (f"{{who}} likes {what} from {{where}}", f"bring {{who}} some {what} from {{where}}"),
            f"some {what}",
            ("That is always right.", "{who} will be happy about it."),
        ),
    )
    asked, clauses, short, more = scene.dice.choice(kinds)
    answer = scene.answer(clauses, short, more, **facts)
    yield Turn(scene.pick(asked, **facts), answer)
    if scene.chance(0.3):
        asked = ("Who?", "Who was that?", "Whom do you mean?", "Who do you mean?")
        clauses = ("I mean {who}, whom you asked about", "{who}, of whom we spoke just now")
        yield Turn(scene.pick(asked), scene.answer(clauses, "{who}", (), who=who))


def neighbours(scene: Scene) -> Iterator[Turn]:
    """Two of whom nothing has been said."""
    who = scene.name()
    facts = {"who": who, "whom": scene.name(who), "where": scene.dice.choice(PLACES)}
    asked = (
        "Do you know {who} and {whom}?",
        "Who are {who} and {whom}?",
        "Tell me about {who} and {whom}.",
        "Are {who} and {whom} friends?",
        "Have you seen {who} and {whom}?",
    )
    clauses = (
        "{who} and {whom} live near {where} and are good friends",
        "I saw {who} together with {whom} at {where}",
        "yes, {who} and {whom} are often at {where}",
    )
    more = ("They get along well.", "Ask {who} about it.", "I like them both.")
    yield Turn(scene.pick(asked, **facts), scene.answer(clauses, "from {where}", more, **facts))


def visitor(scene: Scene) -> Iterator[Turn]:
    """Somebody of the town speaks to the model, as agents do."""
    other, where = scene.person(), scene.dice.choice(PLACES)
    scene.acquaintances.append(other)
    facts = {"who": other.name, "where": where}
    me = f", {scene.speaker.name}" if scene.speaker else ""
    opening = scene.dice.choice(
        (f"Good morning{me}! I am {other.name}.", f"Hello{me}, it is me, {other.name}.")
    )
    what, work = (
        scene.dice.choice(other.trade.goods),
        scene.dice.choice(("the roof", "the harvest", "the fence")),
    )
    kinds = (
        (
            f"Would you like some {what}?",
            (
                f"good morning, {{who}}, yes, I would like some {what}",
                f"no {what} today, {{who}}, but come again tomorrow",
            ),
            f"some {what}, {{who}}",
        ),
        (
            f"Will you come to {where} with me?",
            (
                "yes, {who}, let us go to {where} together",
                "I cannot come to {where} today, {who}, I must work",
            ),
            "to {where}, {who}",
        ),
        (
            f"Can you help me with {work}?",
            (
                f"of course, {{who}}, I will help you with {work}",
                f"I will come and help with {work}, {{who}}",
            ),
            "yes, {who}",
        ),
        (
            f"I was at {where} today.",
            (
                "so you were at {where}, {who}, I should go there too",
                "tell me more about {where}, {who}",
            ),
            "at {where}, {who}",
        ),
    )
    said, clauses, short = scene.dice.choice(kinds)
    more = ("It is good to see you.", "How is your family?", "You look well.")
    yield Turn(f"{opening} {said}", scene.answer(clauses, short, more, **facts))
    if scene.chance(0.4):
        asked = ("See you later!", "Until tomorrow!", "I must go now.", "Goodbye!")
        clauses = (
            "goodbye, {who}, and have a good day",
            "until next time, {who}, take care of yourself",
        )
        yield Turn(scene.pick(asked), scene.answer(clauses, "goodbye, {who}", (), who=other.name))
