"""What the real libraries say of a directory's tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import sentencepiece
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from tests.corpus.models import VOCAB_SIZE
from tests.corpus.quiet import quiet
from tests.corpus.tokenizer_kinds import TokenizerKind


class Judge(Protocol):
    @property
    def num_ids(self) -> int: ...

    def judges(self, text: str) -> bool:
        """Whether what follows is the one right answer for `text`."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str: ...

    def end_ids(self) -> set[int]: ...


@dataclass(frozen=True, slots=True)
class FileJudge:
    """`tokenizers`, on the file as it stands."""

    backend: Tokenizer
    end: str | None

    @property
    def num_ids(self) -> int:
        return max(self.backend.get_vocab().values()) + 1

    def judges(self, text: str) -> bool:
        return True

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return self.backend.encode(text, add_special_tokens=add_special_tokens).ids

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        return self.backend.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def end_ids(self) -> set[int]:
        end = None if self.end is None else self.backend.token_to_id(self.end)
        return set() if end is None else {end}


@dataclass(frozen=True, slots=True)
class SentencePieceJudge:
    """SentencePiece, which puts no special tokens into a text that spells them."""

    processor: sentencepiece.SentencePieceProcessor
    specials: frozenset[str] = field(default=frozenset({"<unk>", "<s>", "</s>"}))

    @property
    def num_ids(self) -> int:
        return int(self.processor.vocab_size())

    def judges(self, text: str) -> bool:
        return not any(special in text for special in self.specials)

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return list(self.processor.encode(text, add_bos=add_special_tokens))

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        return str(self.processor.decode(list(ids)))

    def end_ids(self) -> set[int]:
        return {int(self.processor.eos_id())}


def judge_of(kind: TokenizerKind, directory: Path) -> Judge | None:
    """None without a tokenizer: then there is nothing but ids."""
    if kind.file:
        backend = Tokenizer.from_file(str(directory / "tokenizer.json"))
        backend.no_truncation()
        backend.no_padding()
        return FileJudge(backend, kind.end)
    if kind.sentencepiece:
        model = str(directory / "tokenizer.model")
        return SentencePieceJudge(sentencepiece.SentencePieceProcessor(model_file=model))
    if kind.has_tables:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(directory)
        return FileJudge(tokenizer.backend_tokenizer, tokenizer.eos_token)
    return None


def num_ids_of(judge: Judge | None) -> int:
    return VOCAB_SIZE if judge is None else judge.num_ids
