"""Pushes of distances as lines of JSON, read while they come."""

from collections.abc import Iterable

from motet.client.protocol import PushHead
from motet.errors import RequestError
from motet.server.openai.convert import convert
from motet.server.openai.distances import Push, line_entries
from motet.server.openai.large_json import too_large
from motet.server.openai.strict_json import invalid, parse_object

MAX_LINE_BYTES = 128 * 1024


class PushLines:
    """The first line is a PushHead; the others are agents with their distances."""

    def __init__(self) -> None:
        self._push: Push | None = None
        self._rest = b""

    def feed(self, block: bytes) -> None:
        """What comes next. Raises RequestError that names what is wrong."""
        whole, _, self._rest = (self._rest + block).rpartition(b"\n")
        self._read(whole.split(b"\n"))
        if len(self._rest) > MAX_LINE_BYTES:
            raise too_large("a line", MAX_LINE_BYTES)

    def finish(self) -> Push:
        """All of it. Raises RequestError that names what is wrong."""
        self._read([self._rest])
        if self._push is None:
            raise invalid("has no line")
        return self._push

    def _read(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            if not line.strip():
                continue
            if self._push is None:
                self._push = Push(_head(line))
            else:
                self._push.add(line_entries(line))


def _head(line: bytes) -> PushHead:
    fields = parse_object(line)
    if fields and fields.keys().isdisjoint(PushHead.__struct_fields__):
        raise RequestError(
            'the first line says how to read the others, such as {"unit": "steps"}: '
            "begin with it, even if it is {}",
            code="missing_field",
        )
    return convert(fields, PushHead)
