"""Pushes of distances, of up to a million agents: what their JSON says.

msgspec's parser holds the GIL, so what is large is cut into pieces of which each is read in
milliseconds. An agent that is named twice has the last distance.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct

from motet.client.protocol import MAX_ID_CHARS, PushHead, UpdateRequest
from motet.errors import RequestError
from motet.server.openai.convert import convert
from motet.server.openai.large_json import MAX_REST_BYTES, too_large
from motet.server.openai.strict_json import invalid, parse_object

MAX_AGENTS = 1_000_000
"""Of one push."""
MAX_BUCKETS_BYTES = 16 * 1024 * 1024
"""What has many lists is not cut."""
PART = 20_000
"""Agents, about, that the engine is told of at once: it may take a step between two parts."""

_PIECE_BYTES = 128 * 1024
_MAX_SHOWN = 40  # characters of a wrong value that a message repeats
_SURE_BYTES = 64

# Before a quote that opens a string, and before none that closes one.
_BEFORE_ENTRY = re.compile(rb',\s*"(?!\s*[:,\]}])')
_ENTRY = re.compile(rb'("(?:[^"\\]|\\.)*")\s*:\s*("[^"]*"|[\[{]|[^\s,}\[{"]+)')
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

_PLACE = re.compile(r"\(byte (\d+)\)")
_LONGEST_ENTRY = 2048  # bytes: whose id is not too long

_WORDS = ("true", "false", "null")
_NESTED = {"[": "a list", "{": "an object"}
_HEAD_FIELDS = (*PushHead.__struct_fields__, "timestep_cnt")

T = TypeVar("T")

Value = float | str | bool | None

Pair = tuple[str, float]
"""Agent id and distance; infinite: never."""


@dataclass(slots=True)
class Push:
    """When agents will call, as far as it has been read."""

    head: PushHead
    parts: list[list[Pair]] = field(default_factory=lambda: [[]])
    """At least one, which may be empty."""
    num_agents: int = 0

    def add(self, pairs: Iterable[Pair]) -> None:
        """Raises RequestError for one agent too many, and what reading `pairs` raises."""
        if len(self.parts[-1]) >= PART:
            self.parts.append([])
        part = self.parts[-1]
        self.num_agents -= len(part)
        part.extend(pairs)
        self.num_agents += len(part)
        if self.num_agents > MAX_AGENTS:
            raise RequestError(
                f"the push names more than {MAX_AGENTS} agents: send the others in another one, "
                "with 'mode' merge and without 'epoch'",
                param="distances",
            )


def parse_push(body: bytes) -> Push:
    """The body of POST /v1/agents/distances. Raises RequestError that names what is wrong."""
    given = _given(_decode(body, _PUSH))
    push = Push(convert(_rest(body, given), PushHead))
    if len(given) != 1:
        raise RequestError(
            "there must be one of 'distances' and 'buckets': give exactly one",
            code="missing_field",
            param="distances",
        )
    for name, value in given.items():
        ADD[name](push, value, name)
    return push


def parse_update(body: bytes) -> Push:
    """The body of POST /v1/update. Raises RequestError that names what is wrong."""
    given = _given(_decode(body, _UPDATE))
    update = convert(_rest(body, given), UpdateRequest)
    push = Push(PushHead(epoch=update.timestep_cnt, mode="replace"))
    if "agent_data" in given:  # the other one says the same
        given.pop("timestep_data", None)
    for name, value in given.items():
        ADD[name](push, value, name)
    return push


def line_entries(line: bytes) -> Iterable[Pair]:
    """One line of a push in NDJSON: `{"agent": id, "distance": value}`, or `{id: value}` for one
    agent or more. Raises RequestError.
    """
    fields = _entries(line, "distances")
    agent_id = fields.get("agent")
    if isinstance(agent_id, str) and fields.keys() == {"agent", "distance"}:
        fields = {agent_id: fields["distance"]}
    return _checked(fields, "distances")


class _PushOutline(Struct):
    distances: Raw = Raw()
    buckets: Raw = Raw()


class _UpdateOutline(Struct):
    agent_data: Raw = Raw()
    timestep_data: Raw = Raw()


_PUSH = msgspec.json.Decoder(_PushOutline)
_UPDATE = msgspec.json.Decoder(_UpdateOutline)
_ENTRIES = msgspec.json.Decoder(dict[str, Value])
_BUCKETS = msgspec.json.Decoder(dict[str, Raw])
_IDS = msgspec.json.Decoder(list[str])


def _given(outline: Struct) -> dict[str, bytes]:
    """What the fields hold, without those that are null."""
    values = {name: bytes(getattr(outline, name)) for name in outline.__struct_fields__}
    return {name: value for name, value in values.items() if value not in (b"", b"null")}


def _rest(body: bytes, large: dict[str, bytes]) -> dict[str, object]:
    """The object in `body` without what is large."""
    if len(body) - sum(map(len, large.values())) > MAX_REST_BYTES:
        raise too_large("the body without its distances", MAX_REST_BYTES)
    rest = body
    for value in sorted(large.values(), key=len, reverse=True):  # one may be a part of another
        start = _find(value, rest)
        rest = rest[:start] + b"0" + rest[start + len(value) :]
    return {name: value for name, value in parse_object(rest).items() if name not in large}


def _find(value: bytes, text: bytes) -> int:
    """Where it stands, or the same again."""
    start = text.find(value[:_SURE_BYTES])  # to look for all of it takes long
    while start >= 0 and not text.startswith(value, start):
        start = text.find(value[:_SURE_BYTES], start + 1)
    if start < 0:
        raise invalid("has distances that cannot be told apart")
    return start


def _add_distances(push: Push, text: bytes, where: str) -> None:
    for piece in _pieces(text, where):
        push.add(_checked(_entries(piece, where), where))


def _add_buckets(push: Push, text: bytes, where: str) -> None:
    if len(text) > MAX_BUCKETS_BYTES:
        raise too_large(f"'{where}'", MAX_BUCKETS_BYTES)
    for key, ids in _decode(text, _BUCKETS, where).items():
        given: Value = float(key) if _is_finite(key) else key
        for piece in _pieces(bytes(ids), where):
            agents = dict.fromkeys(_decode(piece, _IDS, where), given)
            push.add(_checked(agents, where))


ADD = {
    "distances": _add_distances,
    "agent_data": _add_distances,
    "buckets": _add_buckets,
    "timestep_data": _add_buckets,
}
"""Field of a body -> how it is read."""


def _pieces(text: bytes, where: str) -> Iterator[bytes]:
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


def _checked(fields: Mapping[str, Value], where: str) -> Iterator[Pair]:
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


def _entries(text: bytes, where: str) -> dict[str, Value]:
    """Of an object without others in it."""
    return _decode(text, _ENTRIES, where)


def _decode(text: bytes, decoder: msgspec.json.Decoder[T], where: str | None = None) -> T:
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
        if not (value.startswith('"') or value in _WORDS or _is_finite(value)):
            raise _wrong(agent_id, _NESTED.get(value, value), where or "distances")


def _is_finite(given: str) -> bool:
    return _NUMBER.fullmatch(given) is not None and math.isfinite(float(given))


def _text(quoted: bytes) -> str:
    try:
        return msgspec.json.decode(quoted, type=str)
    except (msgspec.DecodeError, UnicodeError):
        return quoted.decode(errors="replace")
