"""Agents with their distances, as entries of large JSON objects and lists.

msgspec's parser holds the GIL, so what is large is cut into pieces of which each is read in
milliseconds.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import TypeVar

import msgspec

from motet.client.protocol import MAX_ID_CHARS, PushHead
from motet.errors import RequestError
from motet.server.openai.large_json import too_large
from motet.server.openai.strict_json import invalid

_PIECE_BYTES = 128 * 1024
_MAX_SHOWN = 40  # characters of a wrong value that a message repeats
_LONGEST_ENTRY = 2048  # bytes: whose id is not too long

# Before a quote that opens a string, and before none that closes one.
_BEFORE_ENTRY = re.compile(rb',\s*"(?!\s*[:,\]}])')
_ENTRY = re.compile(rb'("(?:[^"\\]|\\.)*")\s*:\s*("[^"]*"|[\[{]|[^\s,}\[{"]+)')
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_PLACE = re.compile(r"\(byte (\d+)\)")

_WORDS = ("true", "false", "null")
_NESTED = {"[": "a list", "{": "an object"}
_HEAD_FIELDS = (*PushHead.__struct_fields__, "timestep_cnt")

T = TypeVar("T")

Value = float | str | bool | None
"""In the place of a distance."""
Pair = tuple[str, float]
"""Agent id and distance; infinite: never."""

_ENTRIES = msgspec.json.Decoder(dict[str, Value])


def pieces(text: bytes, where: str) -> Iterator[bytes]:
    """An object or list whose entries begin with strings and hold no others: as several."""
    opening, closing = text[:1], text[-1:]
    start, end = 1, len(text) - 1
    while end - start > _PIECE_BYTES:
        least = start + _PIECE_BYTES
        found = _BEFORE_ENTRY.search(text, least, min(end, least + _PIECE_BYTES))
        if found is None:
            if end <= least + _PIECE_BYTES:
                break
            raise too_large(f"an entry of '{where}'", _PIECE_BYTES)
        yield opening + text[start : found.start()] + closing
        start = found.start() + 1
    yield opening + text[start:end] + closing


def checked(fields: Mapping[str, Value], where: str) -> Iterator[Pair]:
    """Raises RequestError for the first that cannot be; `where` is the field that has them."""
    for agent_id, value in fields.items():
        if not 0 < len(agent_id) <= MAX_ID_CHARS:
            raise RequestError(
                f"'{where}' has an agent whose id has {len(agent_id)} characters: "
                f"an id has 1 to {MAX_ID_CHARS}",
                param=where,
            )
        if value == "never":
            yield agent_id, math.inf
        elif isinstance(value, float) and 0 <= value < math.inf:
            yield agent_id, value
        else:
            raise _wrong(agent_id, msgspec.json.encode(value).decode(), where)


def _wrong(agent_id: str, shown: str, where: str) -> RequestError:
    return RequestError(
        f"the distance of agent {agent_id!r:.80} is {shown:.{_MAX_SHOWN}}: it must be a number "
        'from 0 on, or "never"',
        param=where,
    )


def entries(text: bytes, where: str) -> dict[str, Value]:
    """Of an object without others in it."""
    return decode(text, _ENTRIES, where)


def decode(text: bytes, decoder: msgspec.json.Decoder[T], where: str | None = None) -> T:
    """Raises RequestError, which names the agent whose distance is at fault if one is."""
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        if decoder is _ENTRIES or where is None:
            _check_values(_about(error, text), where)
        raise invalid(f"cannot be read ({error})".replace("`", ""), where) from error


def _about(error: Exception, text: bytes) -> bytes:
    """Where to look for what `error` is about."""
    found = _PLACE.search(str(error))
    at = int(found[1]) if found else 0
    return text[max(0, at - _LONGEST_ENTRY) : at + (_MAX_SHOWN if found else 2 * _PIECE_BYTES)]


def _check_values(text: bytes, where: str | None) -> None:
    """Raises RequestError for the first distance in `text` that is no number and no string."""
    for match in _ENTRY.finditer(text):
        agent_id, value = _text(match[1]), match[2].decode(errors="replace")
        if where is None and (value in _NESTED or agent_id in _HEAD_FIELDS):
            continue
        if not (value.startswith('"') or value in _WORDS or is_finite(value)):
            raise _wrong(agent_id, _NESTED.get(value, value), where or "distances")


def is_finite(given: str) -> bool:
    return _NUMBER.fullmatch(given) is not None and math.isfinite(float(given))


def _text(quoted: bytes) -> str:
    try:
        return msgspec.json.decode(quoted, type=str)
    except (msgspec.DecodeError, UnicodeError):
        return quoted.decode(errors="replace")
