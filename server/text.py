"""Text to token ids, and token ids back to text while they are generated."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer as Backend
from tokenizers.decoders import DecodeStream

from motet.errors import ModelError, RequestError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
_CONTEXT_TOKENS = 8  # of the prompt: the first space and a split character depend on what precedes
_MAX_WITHHELD = 64  # tokens without text; a character needs at most 4, so these are no character


class Tokenizer:
    """The tokenizer of the model directory, or none: then prompts are token ids and text is ""."""

    def __init__(self, backend: Backend | None) -> None:
        self._backend = backend
        self._special_ids: frozenset[int] = frozenset()
        self._anchor: list[int] = []
        self._longest_token = 0  # characters
        if backend is not None:
            backend.no_truncation()
            backend.no_padding()
            added = backend.get_added_tokens_decoder().items()
            self._special_ids = frozenset(index for index, token in added if token.special)
            self._anchor = backend.encode("a", add_special_tokens=False).ids[-1:]
            self._longest_token = max(map(len, backend.get_vocab()), default=0)

    @classmethod
    def load(cls, directory: str) -> "Tokenizer":
        """Raises ModelError when the files are there but cannot be used."""
        if not any((Path(directory) / name).exists() for name in TOKENIZER_FILES):
            return cls(None)
        try:
            from transformers import AutoTokenizer  # takes seconds

            logging.getLogger("transformers").setLevel(logging.ERROR)
            loaded = AutoTokenizer.from_pretrained(
                directory, trust_remote_code=False, local_files_only=True
            )
        except Exception as error:  # transformers and tokenizers raise bare ones
            reason = str(error).partition("\n")[0]
            raise ModelError(
                f"the tokenizer in {directory} cannot be loaded ({reason}): download its files "
                f"again, or remove {', '.join(TOKENIZER_FILES)} to serve token ids only"
            ) from error
        backend = getattr(loaded, "backend_tokenizer", None)
        if not isinstance(backend, Backend):
            raise ModelError(
                f"the tokenizer in {directory} has no fast form: save it with tokenizer.json"
            )
        return cls(backend)

    @property
    def has_text(self) -> bool:
        return self._backend is not None

    def is_too_long(self, text: str, max_tokens: int) -> bool:
        """Whether even the longest tokens could not hold `text`; known without a look at it."""
        return self.has_text and len(text) > max_tokens * self._longest_token

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text that begins a prompt, or goes on in one. Holds no GIL meanwhile."""
        if self._backend is None:
            raise RequestError(
                "the model directory has no tokenizer: send the prompt as a list of token ids",
                code="no_tokenizer",
                param="prompt",
            )
        [encoding] = self._backend.encode_batch_fast(  # `encode` would hold the GIL
            [text], add_special_tokens=add_special_tokens
        )
        return encoding.ids

    def decode(self, ids: list[int]) -> str:
        """The text of some tokens, special ones included. Raises RequestError."""
        if self._backend is None:
            raise RequestError("the model directory has no tokenizer", code="no_tokenizer")
        return self._backend.decode(ids, skip_special_tokens=False)

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

    def detokenizer(self, prompt: Sequence[int]) -> "Detokenizer":
        """For the tokens that follow `prompt`."""
        return Detokenizer(self._backend, self._special_ids, prompt)


class Detokenizer:
    """Token ids to text, one by one, never splitting a character. Special tokens have no text."""

    def __init__(
        self, backend: Backend | None, special_ids: frozenset[int], prompt: Sequence[int]
    ) -> None:
        self._backend = backend
        self._special_ids = special_ids
        self._stream = DecodeStream(list(prompt[-_CONTEXT_TOKENS:]), skip_special_tokens=True)
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

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.matched: str | None = None

    def push(self, text: str) -> str:
        """The text that is safe to show. After a match: nothing."""
        if self.matched is not None:
            return ""
        text = self._held + text
        found = [(at + len(stop), at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            _, start, self.matched = min(found)
            self._held = ""
            return text[:start]
        shown = len(text) - max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[shown:]
        return text[:shown]

    def flush(self) -> str:
        """What was held back, when no more text follows."""
        held, self._held = self._held, ""
        return held


class TextStream:
    """The text of one completion: detokenized, and cut before its first stop string."""

    def __init__(self, detokenizer: Detokenizer, stops: Sequence[str], min_tokens: int) -> None:
        """Text of the first `min_tokens` tokens is not searched for stop strings."""
        self._detokenizer = detokenizer
        self._stops = StopStrings(stops)
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


def _overlap(text: str, stop: str) -> int:
    """Length of the longest beginning of `stop`, but not all of it, that ends `text`."""
    lengths = range(min(len(stop) - 1, len(text)), 0, -1)
    return next((length for length in lengths if text.endswith(stop[:length])), 0)
