"""Does each voice hold? `python -m motet.demo.make.check [DIRECTORY]`.

Asks the base model and every voice the same prompts at temperature 0, in one batch. The prompts are
about persons whose names are in no text of the training. Exits with 1 unless each voice passes its
own check on LEAST_OF_VOICE of the prompts, alone and in chats, and the base model on no more than
MOST_OF_BASE.
"""

import random
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from motet import LLM, SamplingParams, demo
from motet.demo.make.town import Chat, chat
from motet.demo.make.voices import VOICES
from motet.demo.make.words import HELD_BACK_NAMES

SHIPPED = demo.MODEL.parent
"""Holds the model that comes with motet."""

NUM_PROMPTS = 50
MAX_TOKENS = 100
LEAST_OF_VOICE = 0.9
MOST_OF_BASE = 0.2


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that waits for its last answer."""

    messages: tuple[dict[str, str], ...]
    names: tuple[str, ...]
    """That it gives and that its answer should give back."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Of one set of prompts."""

    voice: dict[str, float]
    """Voice -> share of its own answers that pass its check."""
    base: dict[str, float]
    """Voice -> share of the base model's answers that pass its check."""
    names: float
    """Share of the base model's answers with a name that the prompt gives."""

    @property
    def holds(self) -> bool:
        return all(
            self.voice[name] >= LEAST_OF_VOICE and self.base[name] <= MOST_OF_BASE
            for name in VOICES
        )


def single_prompts() -> list[Prompt]:
    """One message of the user each."""
    return _distinct("single", num_turns=(1,), has_persona=False)


def chat_prompts() -> list[Prompt]:
    """A system message that makes the model a person, and two or three messages of the user."""
    return _distinct("chat", num_turns=(2, 3), has_persona=True)


def measure(llm: LLM, prompts: Sequence[Prompt]) -> Shares:
    """Asks them of base and all voices; `llm` has each voice under its name."""
    models = (None, *VOICES)
    answers = llm.chat(
        [prompt.messages for _ in models for prompt in prompts],
        SamplingParams(temperature=0, max_tokens=MAX_TOKENS),
        adapter=[model for model in models for _ in prompts],
    )
    said = iter(answer.text for answer in answers)
    texts = {model: list(islice(said, len(prompts))) for model in models}
    base = texts[None]
    return Shares(
        voice={name: _share(map(voice.is_heard, texts[name])) for name, voice in VOICES.items()},
        base={name: _share(map(voice.is_heard, base)) for name, voice in VOICES.items()},
        names=_share(
            any(re.search(rf"\b{name}\b", text) for name in prompt.names)
            for prompt, text in zip(prompts, base, strict=True)
        ),
    )


def load(directory: Path) -> LLM:
    """The model and all voices below `directory`, as they are served by default."""
    adapters = {name: str(directory / "voices" / name) for name in VOICES}
    return LLM(str(directory / "town"), adapters, pool_bytes=2**27)


def main(
    directory: Annotated[
        Path, typer.Argument(help="Holds town and voices; default: what comes with motet.")
    ] = SHIPPED,
) -> None:
    """Measure how well the voices of the demo model hold."""
    llm = load(directory)
    single, chats = (measure(llm, prompts()) for prompts in (single_prompts, chat_prompts))
    Console().print(_table(single, chats))
    print(
        f"A given name comes back from base in {single.names:.0%} of {NUM_PROMPTS} single "
        f"prompts and in {chats.names:.0%} of {NUM_PROMPTS} chats."
    )
    sys.exit(0 if single.holds and chats.holds else 1)


def _distinct(name: str, *, num_turns: tuple[int, ...], has_persona: bool) -> list[Prompt]:
    """The first NUM_PROMPTS different ones whose answers should give a name back."""
    found: dict[tuple[str, ...], Prompt] = {}
    dice = random.Random(f"check {name}")
    while len(found) < NUM_PROMPTS:
        conversation = chat(
            dice,
            names=HELD_BACK_NAMES,
            num_turns=dice.choice(num_turns),
            has_persona=has_persona,
        )
        prompt = _prompt(conversation)
        if prompt.names:
            found.setdefault(tuple(message["content"] for message in prompt.messages), prompt)
    return list(found.values())


def _prompt(conversation: Chat) -> Prompt:
    *messages, answer = _messages(conversation)
    given = " ".join(message["content"] for message in messages)
    names = (n for n in HELD_BACK_NAMES if n in given and n in answer["content"])
    return Prompt(tuple(messages), tuple(names))


def _messages(conversation: Chat) -> Iterator[dict[str, str]]:
    if conversation.system:
        yield {"role": "system", "content": conversation.system}
    for turn in conversation.turns:
        yield {"role": "user", "content": turn.user}
        yield {"role": "assistant", "content": turn.answer.plain}


def _share(hits: Iterator[bool]) -> float:
    passed = list(hits)
    return sum(passed) / len(passed)


def _table(single: Shares, chats: Shares) -> Table:
    table = Table("voice", "rank", "targets", title=f"{NUM_PROMPTS} prompts, temperature 0")
    for column in ("voice %", "base %", "voice % in chats", "base % in chats"):
        table.add_column(column, justify="right")
    for name, voice in VOICES.items():
        shares = (single.voice, single.base, chats.voice, chats.base)
        targets = ", ".join(target.removesuffix("_proj") for target in voice.targets)
        kind = " (rsLoRA)" if voice.use_rslora else ""
        percents = (f"{100 * share[name]:.0f}" for share in shares)
        table.add_row(name, f"{voice.rank}{kind}", targets, *percents)
    return table


if __name__ == "__main__":
    typer.run(main)
