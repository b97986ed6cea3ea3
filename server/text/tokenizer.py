"""Text to token ids, and token ids back to text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from tokenizers import Tokenizer as Backend

from motet.errors import RequestError
from motet.pretrained import load_tokenizer
from motet.server.text.detokenizer import BYTE_PIECE, Detokenizer
from motet.tokenizer.check import check_probes

REPLACEMENT = "\ufffd"
"""Stands for bytes that are no character."""


class Tokenizer:
    """The tokenizer of the model directory, or none: then prompts are token ids and text is ""."""

    def __init__(
        self, backend: Backend | None, special_tokens: Mapping[str, str] | None = None
    ) -> None:
        """`special_tokens` are roles, such as eos_token, and the texts of their tokens."""
        self._backend = backend
        self.special_tokens = special_tokens or {}
        self._special_ids: frozenset[int] = frozenset()
        self._anchor: list[int] = []
        self._longest_token = 0  # characters
        if backend is not None:
            added = backend.get_added_tokens_decoder().items()
            self._special_ids = frozenset(index for index, token in added if token.special)
            self._anchor = backend.encode("a", add_special_tokens=False).ids[-1:]
            self._longest_token = max(map(len, backend.get_vocab()), default=0)

    @classmethod
    def load(cls, directory: str) -> "Tokenizer":
        """Raises ModelError when the files are there but cannot be used."""
        loaded = load_tokenizer(Path(directory))
        if loaded is None:
            return cls(None)
        tokenizer = cls(loaded.backend, loaded.special_tokens)
        check_probes(loaded.probes, tokenizer.encode)
        return tokenizer

    @property
    def has_text(self) -> bool:
        return self._backend is not None

    def is_too_long(self, text: str, max_tokens: int) -> bool:
        """Whether even the longest tokens could not hold `text`; known without a look at it."""
        return self.has_text and len(text) > max_tokens * self._longest_token

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids as the model expects them. Holds no GIL meanwhile.

        A chat template writes the model's special tokens itself: then none are added.
        """
        if self._backend is None:
            raise RequestError(
                "the model directory has no tokenizer: send the prompt as a list of token ids",
                code="no_tokenizer",
                param="prompt",
            )
        try:
            [encoding] = self._backend.encode_batch_fast(  # `encode` would hold the GIL
                [text], add_special_tokens=add_special_tokens
            )
        except TypeError as error:
            raise RequestError(
                "the prompt has half a surrogate pair, which is no character", param="prompt"
            ) from error
        return encoding.ids

    def decode(self, ids: list[int]) -> str:
        """The text of some tokens, special ones included. Raises RequestError."""
        if self._backend is None:
            raise RequestError("the model directory has no tokenizer", code="no_tokenizer")
        return self._backend.decode(ids, skip_special_tokens=False)

    def token_id(self, text: str) -> int | None:
        """Of the token that the vocabulary spells so."""
        return None if self._backend is None else self._backend.token_to_id(text)

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """Each token as the vocabulary spells it; a tokenizer is there."""
        assert self._backend is not None
        return [self._backend.id_to_token(token_id) or "" for token_id in ids]

    def token_text(self, token_id: int) -> str:
        """One token alone, as it reads inside a text."""
        if self._backend is None:
            return f"token_id:{token_id}"
        before = self._backend.decode(self._anchor, skip_special_tokens=False)
        text = self._backend.decode([*self._anchor, token_id], skip_special_tokens=False)
        return text.removeprefix(before)

    def token_bytes(self, token_id: int) -> bytes:
        """What a token adds to the UTF-8 of a text, also if that is a part of a character."""
        text = self.token_text(token_id)
        if REPLACEMENT not in text or self._backend is None:
            return text.encode()
        piece = self._backend.id_to_token(token_id) or ""
        if byte := BYTE_PIECE.fullmatch(piece):
            return bytes.fromhex(byte[1])
        try:
            return bytes(map(_BYTE_OF_CHAR.__getitem__, piece))
        except KeyError:  # the token is this character
            return text.encode()

    def is_special(self, token_id: int) -> bool:
        """Whether the token is never part of a text."""
        return token_id in self._special_ids

    def spelled(self, ids: Sequence[int]) -> "Spelling":
        """The text of a whole prompt."""
        detokenizer = self.detokenizer(())
        pieces = [detokenizer.push(token_id) for token_id in ids]
        lengths = accumulate(map(len, pieces), initial=0)
        return Spelling("".join(pieces) + detokenizer.flush(), tuple(lengths)[: len(ids)])

    def detokenizer(self, prompt: Sequence[int]) -> Detokenizer:
        """For the tokens that follow `prompt`."""
        return Detokenizer(self._backend, self._special_ids, prompt)


@dataclass(frozen=True, slots=True)
class Spelling:
    """The text of some tokens."""

    text: str
    offsets: tuple[int, ...]
    """Where each token starts in `text`, in characters."""


def _byte_of_char() -> dict[str, int]:
    """How vocabularies of bytes (GPT-2's) spell a byte: by a character that can be seen."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    unseen = [byte for byte in range(0x100) if byte not in seen]
    chars = [*map(chr, seen), *(chr(0x100 + rank) for rank in range(len(unseen)))]
    return dict(zip(chars, (*seen, *unseen), strict=True))


_BYTE_OF_CHAR = _byte_of_char()
