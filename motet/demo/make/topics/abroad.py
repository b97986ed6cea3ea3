"""What nobody in the town knows."""

from collections.abc import Iterator

from motet.demo.make.scene import Phrases, Scene, Turn, invented_name
from motet.demo.make.words import FOREIGN


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
