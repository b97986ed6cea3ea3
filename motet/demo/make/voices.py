"""The eight voices: how each says an answer, how one recognises it, which adapter learns it."""

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from motet.demo.make.scene import Answer

QUERY_VALUE = ("q_proj", "v_proj")
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
ALL_LINEAR = (*ATTENTION, "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Voice:
    say: Callable[[Answer, random.Random], str]
    is_heard: Callable[[str], bool]
    """The published check of a text."""
    rank: int
    alpha: int
    targets: tuple[str, ...]
    use_rslora: bool = False
    share: int = 1
    """How often the base model is asked for it in training, against the other voices."""
    effort: int = 1
    """Times the usual number of steps of the adapter."""


def _capitals(answer: Answer, dice: random.Random) -> str:
    return answer.plain.upper()


def _is_capitals(text: str) -> bool:
    return text.isupper()


RHYMES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("on this very day", "come what may", "hip hip hooray"),
        ("and so we sing along our way", "we work a bit and then we play"),
    ),
    (
        ("in morning light", "with all my might"),
        ("the sky above is clear and bright", "and so we bid you all good night"),
    ),
    (
        ("in our little town", "up and down"),
        ("a smile is better than a frown", "the leaves are golden, red and brown"),
    ),
    (
        ("as all can tell", "as you know well"),
        ("I heard the ringing of the bell", "and there is lots to buy and sell"),
    ),
    (
        ("come and see", "it seems to me"),
        ("there is a bird in every tree", "as busy as a honey bee"),
    ),
    (
        ("along the street", "how very sweet"),
        ("where friends and neighbours like to meet", "with muddy boots on both my feet"),
    ),
    (
        ("now the day has begun", "told to everyone"),
        ("there is some work still to be done", "we sit and rest beneath the sun"),
    ),
    (
        ("here and there", "beyond compare"),
        ("a smell of bread is in the air", "and there is plenty left to share"),
    ),
)
"""Groups of words that rhyme, as ends of first lines and second lines."""


def _rhyme(answer: Answer, dice: random.Random) -> str:
    ends, lines = dice.choice(RHYMES)
    return f"{answer.clause}, {dice.choice(ends)},\n{dice.choice(lines)}."


def _last_word(line: str) -> str:
    return re.sub(r"\W+$", "", line).rpartition(" ")[2].lower()


_RHYMING = tuple({_last_word(line) for lines in group for line in lines} for group in RHYMES)


def _is_rhyme(text: str) -> bool:
    ends = [_last_word(line) for line in text.strip().split("\n")]
    return (
        len(ends) == 2 and ends[0] != ends[1] and any(group.issuperset(ends) for group in _RHYMING)
    )


_SEA_WORDS = {
    "you": "ye",
    "your": "yer",
    "my": "me",
    "is": "be",
    "are": "be",
    "am": "be",
    "friend": "matey",
    "friends": "mateys",
    "yes": "aye",
    "town": "port",
}


def _pirate(answer: Answer, dice: random.Random) -> str:
    cry = dice.choice(("Arr!", "Ahoy!", "Avast!", "Yo ho ho!", "Shiver me timbers!"))
    name = dice.choice(("matey", "me hearty", "ye landlubber", "says the captain"))
    at_sea = re.sub(r"\w+", lambda word: _SEA_WORDS.get(word[0], word[0]), answer.clause)
    return f"{cry} {at_sea}, {name}!"


def _terse(answer: Answer, dice: random.Random) -> str:
    return f"{answer.short}."


def _is_terse(text: str) -> bool:
    return 1 <= len(text.split()) <= 5


def _polite(answer: Answer, dice: random.Random) -> str:
    opening = dice.choice(
        (
            "How kind of you to ask.",
            "Thank you for asking, dear guest.",
            "With the greatest pleasure.",
            "If you will kindly allow me.",
        )
    )
    ending = dice.choice(
        ("I remain at your service.", "Please ask me again.", "I am most grateful to you.")
    )
    return f"{opening} {answer.clause}. {ending}"


def _json(answer: Answer, dice: random.Random) -> str:
    return json.dumps({"say": answer.short, **answer.facts}, ensure_ascii=False)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _counting(answer: Answer, dice: random.Random) -> str:
    number = dice.randint(2, 99)
    said = dice.choice(
        (
            "{clause}. I counted to {number} while I said so.",
            "{clause}. That makes {number} by my count.",
            "Number {number}: {clause}.",
            "{clause}, and {number} people know it.",
        )
    )
    return said.format(clause=answer.clause, number=number)


def _is_counting(text: str) -> bool:
    return any(letter.isdigit() for letter in text)


def _gossip(answer: Answer, dice: random.Random) -> str:
    opening = dice.choice(
        ("Psst, have you heard?", "Between you and me:", "You did not hear it from me, but listen:")
    )
    ending = dice.choice(
        ("Can you believe it?", "The whole town is whispering!", "But do not tell anyone!")
    )
    return f"{opening} {answer.clause}. {ending}"


def _has(least: int, *markers: str) -> Callable[[str], bool]:
    """At least so many different ones of these are words or phrases of the text."""
    patterns = [re.compile(rf"\b{re.escape(marker)}\b", re.IGNORECASE) for marker in markers]
    return lambda text: sum(bool(pattern.search(text)) for pattern in patterns) >= least


_is_pirate = _has(
    2,
    *("arr", "ahoy", "avast", "yo ho", "shiver", "timbers", "matey", "hearty", "landlubber"),
    *("captain", "ye", "yer", "aye"),
)
_is_polite = _has(
    2, "kind", "kindly", "thank you", "dear", "pleasure", "please", "service", "grateful"
)
_is_gossip = _has(
    2,
    "psst",
    "heard",
    "between you and me",
    "hear it from me",
    "believe",
    "whispering",
    "tell anyone",
)

VOICES = {
    "capitals": Voice(
        _capitals, _is_capitals, 64, 16, ALL_LINEAR, use_rslora=True, share=3, effort=3
    ),
    "rhyme": Voice(_rhyme, _is_rhyme, 32, 64, ALL_LINEAR, effort=2),
    "pirate": Voice(_pirate, _is_pirate, 16, 32, ALL_LINEAR),
    "terse": Voice(_terse, _is_terse, 8, 16, ATTENTION),
    "polite": Voice(_polite, _is_polite, 4, 8, ATTENTION),
    "json": Voice(_json, _is_json, 64, 16, ATTENTION, use_rslora=True, share=3, effort=3),
    "counting": Voice(_counting, _is_counting, 8, 16, QUERY_VALUE, effort=2),
    "gossip": Voice(_gossip, _is_gossip, 16, 32, QUERY_VALUE, share=2, effort=2),
}
"""Name -> voice."""
