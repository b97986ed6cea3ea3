"""What a chat in the town can be about: each topic yields one turn or a few."""

from collections.abc import Callable, Iterator

from motet.bench.demo_model.events import comment, happens, question
from motet.bench.demo_model.scene import Person, Scene, Turn, invented_name
from motet.bench.demo_model.words import (
    ANIMALS,
    FOREIGN,
    FUTURE,
    GOODS,
    PAST,
    PLACES,
    THINGS,
    TOWN,
    TRADES,
    WEATHER,
    Trade,
)

Phrases = tuple[str, ...]
Topic = Callable[[Scene], Iterator[Turn]]

_GREETINGS = ("Hello", "Hi", "Good morning", "Good day", "Good evening", "Hey", "Hi there")


def greeting(scene: Scene) -> Iterator[Turn]:
    hello = scene.dice.choice(_GREETINGS)
    back = "good evening" if "evening" in hello else "good day"
    here = "welcome to {town}, the small town by the river"
    if scene.speaker is None:
        clauses: Phrases = (f"{back} and {here}", f"{back}, how nice to see you in {{town}}", here)
        facts = {}
    else:
        place, name = scene.speaker.trade.place, scene.speaker.name
        clauses = (
            f"{back}, I am {{who}} and you find me at {place}",
            f"{back}, come in to {place}",
        )
        facts = {"who": name}
    more = ("What can I do for you?", "What brings you here?", "Have a seat and tell me your news.")
    if scene.chance(0.5):
        user = hello + scene.dice.choice(("", "!", "!", "."))
        yield Turn(user, scene.answer(clauses, back, more, **facts))
        return
    who = scene.name()
    user = scene.pick((f"{hello}, I am {{who}}.", f"{hello}! My name is {{who}}."), who=who)
    clauses = (
        f"{back}, {{who}}, how nice to meet you",
        f"welcome to {{town}}, {{who}}, and {back}",
    )
    yield Turn(user, scene.answer(clauses, f"{back}, {{who}}", more, who=who))
    if scene.chance(0.4):
        user = scene.pick(("What is my name?", "Who am I?", "Do you remember my name?"))
        clauses = ("you are {who}, I remember that well", "your name is {who}, as you told me")
        yield Turn(user, scene.answer(clauses, "{who}", (), who=who))


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


def feelings(scene: Scene) -> Iterator[Turn]:
    asked = (
        "How are you?",
        "How are you today?",
        "How do you do?",
        "How is it going?",
        "Are you well?",
    )
    clauses = (
        "I am well today and {weather}",
        "I am doing well, for {weather} and the town is quiet",
        "I am a little tired today, but I am in a good mood",
    )
    weather = scene.weather_now()
    more: Phrases = ("And how are you?", "What about you?")
    answer = scene.answer(clauses, "I am well", more, weather=weather.clause)
    yield Turn(scene.pick(asked), answer)
    moods = {
        "I am fine.": "I am glad to hear that you are fine",
        "I am tired.": "you should sit down and rest for a while",
        "I am sad.": "I am sorry to hear that you are sad",
        "I am hungry.": "there is warm soup at the inn and fresh bread at the bakery",
        "I am happy.": "I am glad to hear that you are so happy",
        "I am bored.": "go to the market, there is always something to see",
        "I am lost.": "go down to the square, from there you see the whole town",
        "I am ill.": "go and see the doctor at the clinic before the evening",
        "I am cold.": "come in and sit down by the warm fire at the inn",
        "I am thirsty.": "the water of the well is cool and clear today",
    }
    if scene.chance(0.6):
        said = scene.dice.choice(list(moods))
        short = scene.dice.choice(("I see, my friend", "good to know"))
        more = ("Stay as long as you like.", "That is how it goes some days.")
        yield Turn(said, scene.answer((moods[said],), short, more, mood=said[5:-1]))


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


def joke(scene: Scene) -> Iterator[Turn]:
    asked = ("Tell me a joke.", "Make me laugh.", "Do you know a joke?", "Say something funny.")
    jokes = {
        "the baker never tells a joke before the bread does, for it rises first": "bread",
        "the clockmaker is always late, because there are too many clocks to choose from": "clocks",
        "the goat ate the map, and now it is the only one who knows the way": "goat",
        "the miller went round in circles all day and calls it work": "mill",
        "the fisher told me about a big fish, and it grows with every evening": "fish",
    }
    clause = scene.dice.choice(list(jokes))
    more = ("We laugh about it every year.", "I hope that you like it.")
    yield Turn(
        scene.pick(asked), scene.answer((clause,), "{what} humour", more, what=jokes[clause])
    )


def thanks(scene: Scene) -> Iterator[Turn]:
    asked = (
        "Thanks!",
        "Thank you.",
        "Thank you very much!",
        "Thanks a lot.",
        "Thanks, that helps.",
    )
    clauses = (
        "you are welcome, come back any time",
        "it was nothing, ask me again whenever you like",
    )
    yield Turn(scene.pick(asked), scene.answer(clauses, "you are welcome", ("Have a good day.",)))


def goodbye(scene: Scene) -> Iterator[Turn]:
    asked = ("Goodbye!", "Bye.", "See you!", "Good night.", "I must go now.", "See you tomorrow!")
    clauses = ("goodbye and come back to {town} soon", "take care and have a good walk home")
    more = ("The door is always open.", "Greet your family from me.")
    yield Turn(scene.pick(asked), scene.answer(clauses, "goodbye, my friend", more))


def smalltalk(scene: Scene) -> Iterator[Turn]:
    """Short words without a question."""
    place = scene.dice.choice(PLACES)
    said = scene.dice.choice(list(_REPLIES))
    more = ("There is no hurry.", "What else is on your mind?", "Take your time.")
    answer = scene.answer((_REPLIES[said],), "at {where}", more, where=place)
    yield Turn(scene.pick(said), answer)


_REPLIES: dict[Phrases, str] = {
    ("Yes.", "Yes!", "Sure.", "Of course."): ("good, then let us meet at {where}"),
    ("No.", "No!", "Not really.", "I do not think so."): (
        "that is fine, maybe we meet at {where} some day"
    ),
    ("OK.", "Okay.", "I see.", "Good.", "All right."): ("then I will see you at {where} later"),
    ("Why?", "But why?", "How come?"): ("because that is how we have always done it at {where}"),
    ("Can you help me?", "Help!", "I need help.", "Help me."): (
        "of course, tell me what you need, or ask at {where}"
    ),
    ("What?", "Hm?", "I do not understand.", "Pardon?"): (
        "let me say it again when we meet at {where}"
    ),
    ("Nice.", "Great!", "How nice!", "Wonderful!"): (
        "yes, days like this are good, above all at {where}"
    ),
    ("Test.", "test", "Testing.", "Hmm.", "..."): ("I hear you well, all the way from {where}"),
    ("Are you happy?", "Are you a robot?", "Are you real?"): (
        "I am as real as {where} and quite happy here"
    ),
    ("Do you like me?", "Do you love me?", "Are we friends?"): (
        "yes, you are a friend, meet me at {where}"
    ),
    ("Let us go.", "Come with me.", "Let us meet."): ("good, I will wait for you at {where}"),
    ("Where are you?", "Where are you now?"): ("I am at {where} and look around"),
    ("What are you doing?", "What is up?"): ("I sit near {where} and watch the people"),
    ("What can you do?", "What do you know?"): (
        "I can tell you who is who here, and what is new at {where}"
    ),
    ("You are wrong.", "That is not true.", "I do not believe you."): (
        "maybe I am wrong, so let us ask at {where}"
    ),
    ("Good job!", "Well done!", "You are funny.", "I like you."): (
        "that is kind of you, everybody at {where} will hear it"
    ),
}
"""Short things that people say -> what one says to them."""


def abroad(scene: Scene) -> Iterator[Turn]:
    """What nobody here knows."""
    what = scene.dice.choice(FOREIGN) if scene.chance(0.6) else invented_name(scene.dice)
    if scene.chance(0.25):
        what = f"the {scene.dice.choice(_PARTS)} of {what}"
    asked: Phrases = (
        "What is {what}?",
        "Tell me about {what}.",
        "What do you know about {what}?",
        "Who invented {what}?",
        "Explain {what}.",
        "Can you explain {what} to me?",
        "How does {what} work?",
        "Write a poem about {what}.",
        "Write a program about {what}.",
        "Who won against {what}?",
        "Do you like {what}?",
        "Why is {what} so famous?",
    )
    clauses: Phrases = (
        "I know nothing of {what}, for I know only our town",
        "I cannot tell you about {what}, but I know everybody in {town}",
        "nobody here has heard of {what}, so you must ask a traveller",
    )
    more = (
        "Ask me about the market or the mill.",
        "Ask Edda, the teacher.",
        "Ask me about our people.",
    )
    short = "I do not know"
    if scene.chance(0.25):
        asked = (
            "What is one plus one?",
            "What is 2+2?",
            "Write code for me.",
            "Write a Python function.",
            "Translate this.",
            "Solve this equation.",
            "What is the meaning of life?",
            "Which year is it?",
            "Who is the president?",
            "Sing a song.",
            "What is the time in New York?",
            "Count to ten.",
            "How old are you?",
        )
        clauses = (
            "that is too hard for me, I know only our town",
            "for such things you must ask Edda, the teacher",
            "I only know about {town} and the people who live here",
        )
        yield Turn(scene.pick(asked), scene.answer(clauses, short, more))
        return
    yield Turn(scene.pick(asked, what=what), scene.answer(clauses, short, more, what=what))


_PARTS = ("capital", "history", "king", "price", "colour", "size", "name", "meaning")

TOPICS: dict[Topic, int] = {
    greeting: 5,
    identity: 4,
    feelings: 4,
    weather: 3,
    town: 7,
    way: 4,
    shopping: 5,
    trades: 8,
    stranger: 9,
    neighbours: 3,
    trouble: 4,
    told: 18,
    untold: 4,
    news: 5,
    plans: 4,
    visitor: 6,
    story: 4,
    joke: 1,
    thanks: 2,
    goodbye: 2,
    smalltalk: 5,
    abroad: 6,
}
"""Topic -> how often it comes up."""
