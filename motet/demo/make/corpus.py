"""Texts of the town as rows of tokens, each token with the weight of its loss."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from motet.demo.make.scene import Answer, invented_name, spliced_name
from motet.demo.make.tokenizer import BEGIN, END, MAX_TOKENS
from motet.demo.make.town import Chat, chat, running_text
from motet.demo.make.voices import VOICES, Voice

PROMPT_WEIGHT = 0.2
"""Of tokens that users say, against 1 of answers: a base model should also know how they talk."""

LONG_CHAT_TURNS = 150
"""Of chats that fill the longest context."""

GAPS = 0.4
"""Share of rows whose positions jump somewhere."""

Say = Callable[[Answer, random.Random], str]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text, and how much it matters."""

    text: str
    weight: float


Document = list[Piece]


@dataclass(frozen=True, slots=True)
class Rows:
    """Tokens to learn from, in the order of training."""

    ids: Tensor  # [num_rows, length + 1]
    weights: Tensor  # [num_rows, length]: of predicting the token behind each
    positions: Tensor  # [num_rows, length]

    def part(self, start: int, count: int) -> "Rows":
        """`count` rows from `start` on."""
        rows = slice(start, start + count)
        return Rows(self.ids[rows], self.weights[rows], self.positions[rows])


def base_documents(dice: random.Random) -> Iterator[Document]:
    """Chats, stories, and chats in a voice that was asked for, so that its words are known."""
    while True:
        share = dice.random()
        if share < 0.72:
            yield _chat_document(chat(dice), _plain, PROMPT_WEIGHT, dice)
        elif share < 0.8:
            yield [Piece(f"{BEGIN}{running_text(dice)}{END}", 1.0)]
        else:
            yield _asked_document(dice)


def long_documents(dice: random.Random) -> Iterator[Document]:
    """Chats as long as the longest context, and short ones between them."""
    while True:
        num_turns = LONG_CHAT_TURNS if dice.random() < 0.2 else None
        yield _chat_document(chat(dice, num_turns=num_turns), _plain, PROMPT_WEIGHT, dice)


def name_documents(dice: random.Random) -> Iterator[Document]:
    """Chats about persons whose names are in no other text, and what the base model knows."""
    usual = base_documents(dice)
    while True:
        if dice.random() < 0.25:
            yield next(usual)
        else:
            names = [dice.choice((invented_name, spliced_name))(dice) for _ in range(12)]
            yield _chat_document(chat(dice, names=names), _plain, PROMPT_WEIGHT, dice)


def voice_documents(voice: Voice, dice: random.Random) -> Iterator[Document]:
    """Chats whose answers are in the voice; in some, only the last one is."""
    while True:
        whole = chat(dice)
        if dice.random() < 0.7:
            yield _chat_document(whole, voice.say, 0.0, dice)
        else:
            *before, last = whole.turns
            document = _chat_document(Chat(whole.system, tuple(before)), _plain, 0.0, dice)
            silent = [Piece(piece.text, 0.0) for piece in document]
            yield silent + _turn_pieces(last.user, voice.say(last.answer, dice), 0.0)


def packed(
    documents: Iterable[Document],
    tokenizer: PreTrainedTokenizerFast,
    num_rows: int,
    length: int,
    dice: random.Random,
) -> Rows:
    """Rows of whole documents; one that is too long for a row is cut."""
    rows = _filled(_encoded(documents, tokenizer), length + 1, tokenizer.vocab[END])
    ids, weights = zip(*islice(rows, num_rows), strict=True)
    positions = [_positions(length, dice) for _ in range(num_rows)]
    return Rows(torch.tensor(ids), torch.tensor(weights)[:, 1:], torch.stack(positions))


def _positions(length: int, dice: random.Random) -> Tensor:
    """Some rows have a gap, so that short rows teach far distances (PoSE, arXiv 2309.10400)."""
    positions = torch.arange(length)
    if dice.random() < GAPS:
        positions[dice.randrange(length) :] += dice.randint(0, MAX_TOKENS - length)
    return positions


def _plain(answer: Answer, dice: random.Random) -> str:
    return answer.plain


def _asked_document(dice: random.Random) -> Document:
    """The system message asks for a voice: adapters then only have to speak it unasked."""
    [name] = dice.choices(list(VOICES), [voice.share for voice in VOICES.values()])
    whole = chat(dice)
    system = " ".join(filter(None, (whole.system, f"Speak in the voice {name}.")))
    return _chat_document(replace(whole, system=system), VOICES[name].say, PROMPT_WEIGHT, dice)


def _chat_document(whole: Chat, say: Say, prompt_weight: float, dice: random.Random) -> Document:
    """As the chat template renders it."""
    start = f"{BEGIN}<|system|>{whole.system}{END}" if whole.system else BEGIN
    document = [Piece(start, prompt_weight)]
    for turn in whole.turns:
        document += _turn_pieces(turn.user, say(turn.answer, dice), prompt_weight)
    return document


def _turn_pieces(user: str, answer: str, prompt_weight: float) -> Document:
    prompt = f"<|user|>{user}{END}<|assistant|>"
    return [Piece(prompt, prompt_weight), Piece(f"{answer}{END}", 1.0)]


def _encoded(
    documents: Iterable[Document], tokenizer: PreTrainedTokenizerFast
) -> Iterator[tuple[list[int], list[float]]]:
    """Pieces begin and end at special tokens, so one by one they encode as the whole text does."""
    backend = tokenizer.backend_tokenizer
    for document in documents:
        texts = [piece.text for piece in document]
        encodings = backend.encode_batch_fast(texts, add_special_tokens=False)
        ids, weights = [], []
        for piece, encoding in zip(document, encodings, strict=True):
            ids += encoding.ids
            weights += [piece.weight] * len(encoding.ids)
        yield ids, weights


def _filled(
    documents: Iterable[tuple[list[int], list[float]]], length: int, pad_id: int
) -> Iterator[tuple[list[int], list[float]]]:
    row_ids: list[int] = []
    row_weights: list[float] = []
    for ids, weights in documents:
        if row_ids and len(row_ids) + len(ids) > length:
            missing = length - len(row_ids)
            yield row_ids + [pad_id] * missing, row_weights + [0.0] * missing
            row_ids, row_weights = [], []
        row_ids += ids[: length - len(row_ids)]
        row_weights += weights[: length - len(row_weights)]
