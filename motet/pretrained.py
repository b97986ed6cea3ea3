"""The tokenizer of a model directory, as its files have it: never code, never the network."""

import os
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, processors

from motet.errors import ModelError
from motet.file_names import SENTENCEPIECE_MODEL, TOKENIZER, TOKENIZER_CONFIG
from motet.tokenizer.added_tokens import read_object
from motet.tokenizer.byte_level import VOCABULARY_FILE, read_byte_level
from motet.tokenizer.check import probes
from motet.tokenizer.faults import LibraryFault, library_faults
from motet.tokenizer.source import TokenizerSource
from motet.tokenizer_config import read_tokenizer_config


@dataclass(frozen=True, slots=True)
class LoadedTokenizer:
    """What all files of a directory say together."""

    backend: Tokenizer
    """Shortens no text and fills none up, whatever its file says: requests bring their lengths."""
    num_token_ids: int
    """One more than the highest id of a token."""
    special_tokens: Mapping[str, str]
    """Role, such as eos_token, -> text of the token."""
    probes: Mapping[str, tuple[int, ...]]
    """Texts and their ids, by which whoever goes on to change the backend can be checked."""

    @property
    def eos_token_id(self) -> int | None:
        """Of the token whose role is to end an answer."""
        text = self.special_tokens.get("eos_token")
        return None if text is None else self.backend.token_to_id(text)


def load_tokenizer(directory: Path) -> LoadedTokenizer | None:
    """None without tokenizer files.

    Where tokenizer.json lies it is the tokenizer, and other files of vocabularies play no role.
    Raises ModelError when the files are there but cannot be used.
    """
    name = next((name for name in READERS if os.path.lexists(directory / name)), None)
    if name is None:
        return None
    if not (directory / name).is_file():  # reading a pipe or a device would not end
        raise _invalid(f"{name} is no regular file")
    try:
        return _loaded(directory, name)
    except LibraryFault as fault:
        raise _invalid(str(fault)) from fault


def _loaded(directory: Path, name: str) -> LoadedTokenizer:
    source = READERS[name](directory)
    backend = source.backend
    backend.no_truncation()
    backend.no_padding()
    vocabulary = backend.get_vocab()
    if not vocabulary:
        raise _invalid("it has no tokens")
    roles = {**source.special_tokens, **read_tokenizer_config(directory).special_tokens}
    if name != TOKENIZER:  # which says itself what stands around a text
        _surround(backend, source.adds_bos, roles, directory)
    return LoadedTokenizer(
        backend=backend,
        num_token_ids=max(vocabulary.values()) + 1,
        special_tokens=roles,
        probes=probes(backend),
    )


def _read_json(directory: Path) -> TokenizerSource:
    with library_faults():
        return TokenizerSource(Tokenizer.from_file(str(directory / TOKENIZER)))


def _read_sentencepiece(directory: Path) -> TokenizerSource:
    from motet.tokenizer.sentencepiece_model import read_sentencepiece  # a library few models need

    return read_sentencepiece(directory)


READERS = {
    TOKENIZER: _read_json,
    SENTENCEPIECE_MODEL: _read_sentencepiece,
    VOCABULARY_FILE: read_byte_level,
}
"""By the file that each reads; the first that is there counts."""


def _surround(
    backend: Tokenizer, adds_bos: bool, roles: Mapping[str, str], directory: Path
) -> None:
    """Put around every text what tokenizer_config.json asks for."""
    fields = read_object(directory, TOKENIZER_CONFIG)
    bos, eos = roles.get("bos_token"), roles.get("eos_token")
    before = [bos] if fields.get("add_bos_token", adds_bos) and bos else []
    behind = [eos] if fields.get("add_eos_token") and eos else []
    tokens = [(token, backend.token_to_id(token)) for token in (*before, *behind)]
    if missing := [token for token, index in tokens if index is None]:
        raise ModelError(
            f"{TOKENIZER_CONFIG} puts {reprlib.repr(missing[0])} around texts, which is no token: "
            "correct bos_token and eos_token, or set add_bos_token and add_eos_token to false"
        )
    if tokens:
        backend.post_processor = processors.TemplateProcessing(
            single=[*before, "$A", *behind], special_tokens=tokens
        )


def _invalid(reason: str) -> ModelError:
    return ModelError(
        f"the tokenizer cannot be loaded ({reason}): download its files again, or remove "
        f"{', '.join(READERS)} to serve token ids only"
    )
