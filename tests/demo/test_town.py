"""The grammar of the demo model: what is given comes back, and voices are told apart."""

import random
import re
from collections.abc import Callable
from itertools import islice

import pytest

from motet.demo.make.check import NUM_PROMPTS, Prompt, chat_prompts, single_prompts
from motet.demo.make.corpus import (
    base_documents,
    long_documents,
    name_documents,
    voice_documents,
)
from motet.demo.make.scene import MIN_WORDS, Answer, invented_name, spliced_name
from motet.demo.make.town import chat
from motet.demo.make.voices import VOICES
from motet.demo.make.words import HELD_BACK_NAMES, NAMES

NUM_SAMPLES = 1_000


@pytest.fixture(scope="module")
def answers() -> list[Answer]:
    dice = random.Random(0)
    return [dice.choice(chat(dice).turns).answer for _ in range(NUM_SAMPLES)]


def test_equal_seeds_tell_equal_chats() -> None:
    def told(seed: int) -> list[object]:
        dice = random.Random(seed)
        return [chat(dice) for _ in range(20)]

    assert told(1) == told(1)
    assert told(1) != told(2)


def test_an_answer_says_all_of_its_facts(answers: list[Answer]) -> None:
    for answer in answers:
        for fact in answer.facts.values():
            assert fact.lower() in answer.clause.lower()


def test_a_plain_answer_is_a_sentence_or_two(answers: list[Answer]) -> None:
    for answer in answers:
        assert MIN_WORDS <= len(answer.plain.split()) <= 28
        assert answer.plain[0].isupper()
        assert answer.plain[-1] in ".!?"


@pytest.mark.parametrize("name", VOICES)
def test_a_voice_passes_its_own_check(answers: list[Answer], name: str) -> None:
    voice, dice = VOICES[name], random.Random(0)
    for answer in answers:
        said = voice.say(answer, dice)
        assert voice.is_heard(said), said


@pytest.mark.parametrize("name", VOICES)
def test_a_plain_answer_passes_no_check_of_a_voice(answers: list[Answer], name: str) -> None:
    mistaken = [answer.plain for answer in answers if VOICES[name].is_heard(answer.plain)]
    assert len(mistaken) <= NUM_SAMPLES // 100, mistaken


@pytest.mark.parametrize("name", [name for name in VOICES if name != "terse"])
def test_a_voice_says_who_it_is_about(answers: list[Answer], name: str) -> None:
    dice = random.Random(0)
    for answer in answers:
        if "who" in answer.facts:
            assert answer.facts["who"].lower() in VOICES[name].say(answer, dice).lower()


def test_no_text_for_training_has_a_name_of_the_check() -> None:
    dice = random.Random(0)
    held_back = {name.lower() for name in HELD_BACK_NAMES}
    of_voices = (voice_documents(voice, dice) for voice in VOICES.values())
    kinds = (base_documents(dice), long_documents(dice), name_documents(dice), *of_voices)
    for documents in kinds:
        for document in islice(documents, 500):
            text = "".join(piece.text for piece in document).lower()
            assert not set(re.findall(r"\w+", text)) & held_back


@pytest.mark.parametrize("invent", [invented_name, spliced_name])
def test_no_invented_name_is_one_of_the_check(invent: Callable[[random.Random], str]) -> None:
    dice = random.Random(0)
    invented = {invent(dice) for _ in range(20_000)}
    assert not set(NAMES) & set(HELD_BACK_NAMES)
    assert not invented & set(HELD_BACK_NAMES)


@pytest.mark.parametrize("prompts", [single_prompts, chat_prompts])
def test_each_prompt_of_the_check_is_about_somebody_unknown(
    prompts: Callable[[], list[Prompt]],
) -> None:
    found = prompts()
    assert len(found) == NUM_PROMPTS
    for prompt in found:
        given = " ".join(message["content"] for message in prompt.messages)
        assert prompt.names
        assert all(name in given and name in HELD_BACK_NAMES for name in prompt.names)


def test_the_voices_are_adapters_of_many_kinds() -> None:
    assert {voice.rank for voice in VOICES.values()} >= {4, 8, 16, 32, 64}
    assert len({voice.targets for voice in VOICES.values()}) == 3
    assert {voice.use_rslora for voice in VOICES.values()} == {False, True}
