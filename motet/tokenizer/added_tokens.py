"""Tokens that files beside a vocabulary add to it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from motet.file_names import TOKENIZER_CONFIG
from motet.memory.device.files import MODEL, read_json

ADDED_FILE = "added_tokens.json"
MAX_ID = 2**31
_FLAGS = ("lstrip", "rstrip", "single_word", "special")


def read_object(directory: Path, name: str) -> dict[str, Any]:
    """The object in a JSON file, empty without one. Raises ModelError."""
    path = directory / name
    return read_json(path, MODEL) if os.path.lexists(path) else {}


def read_added_tokens(directory: Path) -> dict[int, AddedToken]:
    """Id -> token, of tokenizer_config.json or, where that has none, of older files.

    Raises ModelError.
    """
    fields = read_object(directory, TOKENIZER_CONFIG)
    listed = fields.get("added_tokens_decoder")
    try:
        return dict(_decoder(listed) if listed else _older(read_object(directory, ADDED_FILE)))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        name = TOKENIZER_CONFIG if listed else ADDED_FILE
        raise MODEL.fault(
            directory, f"{name} has added tokens that are none ({error!r}): download it again"
        ) from None


def _decoder(listed: dict[str, dict[str, Any]]) -> Iterator[tuple[int, AddedToken]]:
    for index, token in listed.items():
        flags = {name: bool(token.get(name, False)) for name in _FLAGS}
        yield _checked(int(index), AddedToken(token["content"], normalized=False, **flags))


def _older(listed: dict[str, int]) -> Iterator[tuple[int, AddedToken]]:
    for content, index in listed.items():
        yield _checked(index, AddedToken(content, normalized=False, special=True))


def _checked(index: object, token: AddedToken) -> tuple[int, AddedToken]:
    if type(index) is not int or not 0 <= index < MAX_ID:
        raise ValueError(f"{index!r} is no id")
    if not token.content:
        raise ValueError(f"token {index} has no text")
    return index, token
