"""Request bodies of which one field is large: a prompt, or the texts of a conversation.

Python's parser holds the GIL and would stop every stream for seconds over a hostile body of full
size. So msgspec reads what is large, and the strict parser only the rest.
"""

import re
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct, field

from motet.errors import PayloadTooLarge, RequestError
from motet.server.openai.strict_json import invalid, parse_object

MAX_REST_BYTES = 256 * 1024
"""Of a body without what is large in it."""
MAX_ENTRIES = 4096
"""Of a large list, unless it is one of numbers."""
_WORTH_CUTTING = 1024  # bytes: what is smaller is parsed with the rest

_NUMBERS = re.compile(rb"\[\s*[-\d]")

T = TypeVar("T")


class _Prompt(Struct):
    value: Raw = field(default=Raw(), name="prompt")


class _Messages(Struct):
    value: Raw = field(default=Raw(), name="messages")


class _Content(Struct):
    value: Raw = field(default=Raw(), name="content")


class _Text(Struct):
    value: Raw = field(default=Raw(), name="text")


class _Tokens(Struct):
    value: Raw = field(default=Raw(), name="tokens")


_Outline = _Prompt | _Tokens | _Messages | _Content | _Text
_Path = tuple[type[_Outline], ...]

PATHS: dict[str, _Path] = {
    "prompt": (_Prompt,),
    "tokens": (_Tokens,),
    "messages": (_Messages, _Content, _Text),
}
"""Field that may be large -> where in it what is large stands, from the outside in."""


def parse_large_object(body: bytes, large: str) -> dict[str, object]:
    """As `parse_object`, for a `body` of which only the field `large` may be large."""
    return _Cutter(large).parse(body, PATHS[large], "")


class _Cutter:
    """Parses objects, cuts what is large out of them, and counts the rest."""

    def __init__(self, large: str) -> None:
        self._large = large
        self._rest_bytes = 0

    def parse(self, text: bytes, path: _Path, where: str) -> dict[str, object]:
        """The object in `text`; errors say `where` it stands."""
        outline, *deeper = path
        value = bytes(_decode(text, outline, where).value)
        is_cut = len(value) >= _WORTH_CUTTING and text.count(value) == 1
        rest = text.replace(value, b"0") if is_cut else text
        self._rest_bytes += len(rest)
        if self._rest_bytes > MAX_REST_BYTES:
            raise too_large(f"the body without its '{self._large}'", MAX_REST_BYTES)
        fields = parse_object(rest, inside=where or None)
        if is_cut:
            name = msgspec.structs.fields(outline)[0].encode_name
            fields[name] = self._value(value, tuple(deeper), f"{where}.{name}".lstrip("."))
        return fields

    def _value(self, text: bytes, path: _Path, where: str) -> object:
        if not text.startswith(b"["):
            return _decode(text, str, where)
        if _NUMBERS.match(text):
            return _decode(text, list[int], where)
        entries = _decode(text, list[Raw], where)
        if len(entries) > MAX_ENTRIES:
            raise RequestError(
                f"'{where}' has {len(entries)} entries: at most {MAX_ENTRIES} are read",
                param=self._large,
            )
        return [
            self._entry(bytes(entry), path, f"{where}[{index}]")
            for index, entry in enumerate(entries)
        ]

    def _entry(self, text: bytes, path: _Path, where: str) -> object:
        if path:
            return self.parse(text, path, where)
        kind: type[list[int]] | type[str] = list[int] if text.startswith(b"[") else str
        return _decode(text, kind, where)


def too_large(what: str, max_bytes: int) -> PayloadTooLarge:
    limit = f"{max_bytes // 1024} KiB"
    return PayloadTooLarge(f"{what} is larger than {limit}: send less", code="body_too_large")


def _decode(text: bytes, kind: type[T], where: str) -> T:
    """What `kind` has of the JSON in `text`. Raises RequestError."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).replace("`", "").partition(" - at $")
        raise invalid(f"is wrong: {problem}", f"{where}{place}" or None) from error
    except msgspec.DecodeError as error:
        raise invalid(f"is not valid JSON ({error})", where or None) from error
    except UnicodeError as error:
        raise invalid("is not valid UTF-8", where or None) from error
    except RecursionError as error:
        raise invalid("is nested too deeply", where or None) from error
