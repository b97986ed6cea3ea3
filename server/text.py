"""Text to token ids, and token ids back to text while they are generated."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from tokenizers import Tokenizer as Backend
from tokenizers.decoders import DecodeStream

from motet.errors import RequestError
from motet.pretrained import load_tokenizer
from motet.tokenizer.check import check_probes

REPLACEMENT = "\ufffd"
"""Stands for bytes that are no character."""
_BYTE_PIECE = re.compile("<0x([0-9A-F]{2})>")  # of vocabularies with byte fallback
_CONTEXT_TOKENS = 8  # of the prompt: the first space and a split character depend on what precedes
_MAX_CHARACTER_TOKENS = 4  # of UTF-8, one for each byte
_MAX_WITHHELD = 64  # tokens without text; a character needs at most 4, so these are no character


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
        if byte := _BYTE_PIECE.fullmatch(piece):
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

    def detokenizer(self, prompt: Sequence[int]) -> "Detokenizer":
        """For the tokens that follow `prompt`."""
        return Detokenizer(self._backend, self._special_ids, prompt)


@dataclass(frozen=True, slots=True)
class Spelling:
    """The text of some tokens."""

    text: str
    offsets: tuple[int, ...]
    """Where each token starts in `text`, in characters."""


class Detokenizer:
    """Token ids to text, one by one, never splitting a character. Special tokens have no text."""

    def __init__(
        self, backend: Backend | None, special_ids: frozenset[int], prompt: Sequence[int]
    ) -> None:
        self._backend = backend
        self._special_ids = special_ids
        context = _context(backend, prompt) if backend else []
        self._stream = DecodeStream(context, skip_special_tokens=True)
        self._withheld: list[int] = []  # pushed since the last text: an unfinished character

    def push(self, token_id: int) -> str:
        """The text that is complete with this token."""
        if self._backend is None or token_id in self._special_ids:
            return ""
        self._withheld.append(token_id)
        try:
            text = self._stream.step(self._backend, token_id)
        except Exception as error:  # tokenizers has no class of its own for this
            if "Invalid prefix" not in str(error):
                raise
            return self._restart()
        if text is not None:
            self._withheld.clear()
        elif len(self._withheld) == _MAX_WITHHELD:
            return self._restart()
        return text or ""

    def flush(self) -> str:
        """What is left at the end: an unfinished character reads as U+FFFD."""
        if self._backend is None or not self._withheld:
            return ""
        return self._backend.decode(self._withheld)

    def _restart(self) -> str:
        """Bytes that are no text may change how earlier ones decode: give up on those withheld."""
        text = self.flush()
        self._stream = DecodeStream(self._withheld[-1:], skip_special_tokens=True)
        self._withheld.clear()
        return text


class StopStrings:
    """Passes text through up to the stop string that is complete first.

    What may be the beginning of a stop string is held back, so the text that leaves does not
    depend on how the text that enters is cut into pieces.
    """

    def __init__(self, stops: Sequence[str], *, keep_match: bool = False) -> None:
        """`keep_match` ends the text after the stop string, not before it."""
        self._stops = stops
        self._keep_match = keep_match
        self._held = ""
        self.matched: str | None = None

    def push(self, text: str) -> str:
        """The text that is safe to show. After a match: nothing."""
        if self.matched is not None:
            return ""
        if not self._stops:
            return text
        text = self._held + text
        found = [(at + len(stop), at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            end, start, self.matched = min(found)
            self._held = ""
            return text[: end if self._keep_match else start]
        shown = len(text) - max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[shown:]
        return text[:shown]

    def flush(self) -> str:
        """What was held back, when no more text follows."""
        held, self._held = self._held, ""
        return held


class TextStream:
    """The text of one completion: detokenized, and cut at its first stop string."""

    def __init__(self, detokenizer: Detokenizer, stops: StopStrings, min_tokens: int) -> None:
        """Text of the first `min_tokens` tokens is not searched for stop strings."""
        self._detokenizer = detokenizer
        self._stops = stops
        self._unsearched_tokens = min_tokens
        self.num_chars = 0
        """Decoded so far, with what is held back."""

    @property
    def matched(self) -> str | None:
        """The stop string that ended the text."""
        return self._stops.matched

    def push(self, token_id: int) -> str:
        """The text that is safe to show after this token."""
        text = self._detokenizer.push(token_id)
        self.num_chars += len(text)
        if self._unsearched_tokens > 0:
            self._unsearched_tokens -= 1
            return text
        return self._stops.push(text)

    def finish(self) -> str:
        """The rest, when no more tokens follow."""
        return self._stops.push(self._detokenizer.flush()) + self._stops.flush()


def _context(backend: Backend, prompt: Sequence[int]) -> list[int]:
    """The end of `prompt`, on which the text of what follows depends.

    With byte fallback, bytes of which one is no character are all shown as replaced: a context that
    began amid a character would spoil the others.
    """
    start = max(0, len(prompt) - _CONTEXT_TOKENS)
    earliest = max(0, start - _MAX_CHARACTER_TOKENS + 1)
    while start > earliest and _goes_on_a_character(backend.id_to_token(prompt[start])):
        start -= 1
    return list(prompt[start:])


def _goes_on_a_character(piece: str | None) -> bool:
    byte = _BYTE_PIECE.fullmatch(piece or "")
    return byte is not None and 0x80 <= int(byte[1], 16) < 0xC0


def _overlap(text: str, stop: str) -> int:
    """Length of the longest beginning of `stop`, but not all of it, that ends `text`."""
    lengths = range(min(len(stop) - 1, len(text)), 0, -1)
    return next((length for length in lengths if text.endswith(stop[:length])), 0)


def _byte_of_char() -> dict[str, int]:
    """How vocabularies of bytes (GPT-2's) spell a byte: by a character that can be seen."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    unseen = [byte for byte in range(0x100) if byte not in seen]
    chars = [*map(chr, seen), *(chr(0x100 + rank) for rank in range(len(unseen)))]
    return dict(zip(chars, (*seen, *unseen), strict=True))


_BYTE_OF_CHAR = _byte_of_char()
