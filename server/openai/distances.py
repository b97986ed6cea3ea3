"""Pushes of distances, of up to a million agents: what their JSON says.

An agent that is named twice has the last distance.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
from msgspec import Raw, Struct

from motet.client.protocol import PushHead, UpdateRequest
from motet.errors import RequestError
from motet.server.openai.agent_entries import (
    Pair,
    Value,
    checked,
    decode,
    entries,
    is_finite,
    pieces,
)
from motet.server.openai.convert import convert
from motet.server.openai.large_json import MAX_REST_BYTES, too_large
from motet.server.openai.strict_json import invalid, parse_object

MAX_AGENTS = 1_000_000
"""Of one push."""
MAX_BUCKETS_BYTES = 16 * 1024 * 1024
"""What has many lists is not cut."""
PART = 20_000
"""Agents, about, that the engine is told of at once: it may take a step between two parts."""

_SURE_BYTES = 64


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
    given = _given(decode(body, _PUSH))
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
    given = _given(decode(body, _UPDATE))
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
    fields = entries(line, "distances")
    agent_id = fields.get("agent")
    if isinstance(agent_id, str) and fields.keys() == {"agent", "distance"}:
        fields = {agent_id: fields["distance"]}
    return checked(fields, "distances")


class _PushOutline(Struct):
    distances: Raw = Raw()
    buckets: Raw = Raw()


class _UpdateOutline(Struct):
    agent_data: Raw = Raw()
    timestep_data: Raw = Raw()


_PUSH = msgspec.json.Decoder(_PushOutline)
_UPDATE = msgspec.json.Decoder(_UpdateOutline)
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
    for piece in pieces(text, where):
        push.add(checked(entries(piece, where), where))


def _add_buckets(push: Push, text: bytes, where: str) -> None:
    if len(text) > MAX_BUCKETS_BYTES:
        raise too_large(f"'{where}'", MAX_BUCKETS_BYTES)
    for key, ids in decode(text, _BUCKETS, where).items():
        given: Value = float(key) if is_finite(key) else key
        for piece in pieces(bytes(ids), where):
            agents = dict.fromkeys(decode(piece, _IDS, where), given)
            push.add(checked(agents, where))


ADD = {
    "distances": _add_distances,
    "agent_data": _add_distances,
    "buckets": _add_buckets,
    "timestep_data": _add_buckets,
}
"""Field of a body -> how it is read."""
