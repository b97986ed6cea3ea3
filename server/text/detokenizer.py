"""Token ids back to text, while they are generated."""

import re
from collections.abc import Sequence

from tokenizers import Tokenizer as Backend
from tokenizers.decoders import DecodeStream

BYTE_PIECE = re.compile("<0x([0-9A-F]{2})>")
"""How vocabularies with byte fallback spell a byte."""
_CONTEXT_TOKENS = 8  # of the prompt: the first space and a split character depend on what precedes
_MAX_CHARACTER_TOKENS = 4  # of UTF-8, one for each byte
_MAX_WITHHELD = 64  # tokens without text; a character needs at most 4, so these are no character


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
    byte = BYTE_PIECE.fullmatch(piece or "")
    return byte is not None and 0x80 <= int(byte[1], 16) < 0xC0
