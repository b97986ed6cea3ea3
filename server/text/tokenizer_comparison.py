"""Whether the tokenizer saved beside an adapter gives texts the ids that the model's gives."""

import hashlib
import reprlib
import stat
from collections.abc import Iterator
from itertools import chain
from operator import itemgetter
from pathlib import Path

import msgspec
from tokenizers import Tokenizer as Backend

from motet.file_names import TOKENIZER
from motet.server.text.tokenizer import Tokenizer
from motet.tokenizer.faults import LibraryFault, library_faults

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "  def f(x):\n\treturn x[0] * 1234567890  # naïve café\n\n",
    "Ünïcöde ﬁ ① 日本語 한국어 العربية हिन्दी 😀",
    " spaces  at   both ends  ",
)
"""Where normalizers and pre-tokenizers part."""

MAX_FOUND = 1024
"""Different tokenizers that are remembered."""


class TokenizerComparison:
    """Compares with one model. Equal files are compared once, however many adapters have them."""

    def __init__(self, model: str, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._own_path = Path(model) / TOKENIZER
        self._own_digest = _digest(self._own_path)
        self._found: dict[tuple[str | None, str | None], tuple[str, ...]] = {}

    def faults(self, directory: str, unused: str | None) -> tuple[str, ...]:
        """What is different in `directory` and what that means; nothing where nothing is.

        `unused` is a token that stands in no prompt, such as the one for padding.
        """
        path = Path(directory) / TOKENIZER
        digest = _digest(path)
        if digest in (None, self._own_digest) or not self._tokenizer.has_text:
            return ()
        found = self._found.get((digest, unused))
        if found is None:
            if len(self._found) >= MAX_FOUND:
                self._found.clear()
            self._found[digest, unused] = found = tuple(self._compared(path, unused))
        return found

    def _compared(self, path: Path, unused: str | None) -> Iterator[str]:
        if self._own_digest is not None and _content(path) == _content(self._own_path):
            return  # sooner than by what follows
        try:
            with library_faults():
                difference = self._first_difference(Backend.from_file(str(path)), unused)
        except LibraryFault as fault:
            yield f"tokenizer may differ: its {path.name} cannot be used ({fault!s:.200})"
            return
        if difference is not None:
            yield (
                f"tokenizer differs: {difference}; prompts get the ids of the model's, with which "
                "the adapter was not trained"
            )

    def _first_difference(self, other: Backend, unused: str | None) -> str | None:
        other.no_truncation()
        other.no_padding()
        return next(chain(self._other_ids(other, unused), self._other_encodings(other)), None)

    def _other_ids(self, other: Backend, unused: str | None) -> Iterator[str]:
        ordered = sorted(other.get_vocab().items(), key=itemgetter(1))
        pairs = [(text, id, self._tokenizer.token_id(text)) for text, id in ordered]
        for text, id, own_id in pairs:
            if own_id not in (id, None):
                yield f"{text!r:.80} is {id} there and {own_id} in the model's"
        unknown = [(text, id) for text, id, own_id in pairs if own_id is None and text != unused]
        if unknown:
            text, id = unknown[0]
            yield f"{text!r:.80} ({id}) is no token of the model's, one of {len(unknown):,} such"

    def _other_encodings(self, other: Backend) -> Iterator[str]:
        for text in TEXTS:
            own_ids = self._tokenizer.encode(text, add_special_tokens=False)
            if other.encode(text, add_special_tokens=False).ids != own_ids:
                yield f"{reprlib.repr(text)} has other ids there"


def _content(path: Path) -> object:
    """All but the lengths that trainers set, which requests bring themselves."""
    try:
        content = msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError):
        return path  # which equals no other
    return content | {"truncation": None, "padding": None}


def _digest(path: Path) -> str | None:
    """Of a regular file; None without one."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
