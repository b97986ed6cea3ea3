"""What people say to be kind: greetings, moods, small talk."""

from collections.abc import Iterator

from motet.demo.make.scene import Phrases, Scene, Turn
from motet.demo.make.words import PLACES

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
