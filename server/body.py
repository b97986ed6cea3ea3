"""Request bodies: strict JSON of bounded size, converted to wire types."""

import json
import re
from typing import TypeVar

import msgspec
from starlette.requests import Request

from motet.errors import RequestError
from motet.server.aside import Aside
from motet.server.large_json import MAX_REST_BYTES, parse_large_object, too_large
from motet.server.strict_json import parse_object

MAX_BODY_BYTES = 4 * 1024 * 1024

_MAX_SHOWN = 40  # characters of a wrong value that a message repeats

_BOUNDS = {
    " >= ": "greater_than_equal",
    " <= ": "less_than_equal",
    " > ": "greater_than",
    " < ": "less_than",
}
"""Comparison in msgspec's report -> code of the error, in the words of other servers."""

_VIOLATION = re.compile(r"(?P<problem>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)

T = TypeVar("T")


async def read_json(http: Request, aside: Aside, large: str) -> dict[str, object]:
    """The JSON object that the client sends, without the fields that are null.

    `large` is the field that may be large. Raises RequestError.
    """
    media_type = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise RequestError(
            "the body must be JSON: send the header Content-Type: application/json",
            code="unsupported_content_type",
        )
    body = await _read(http)
    if len(body) <= MAX_REST_BYTES:
        return parse_object(body)
    return await aside.run(parse_large_object, body, large)


def convert(fields: dict[str, object], wire_type: type[T]) -> T:
    """`fields` as `wire_type`. Raises RequestError that names the field and its value."""
    try:
        return msgspec.convert(fields, wire_type)
    except msgspec.ValidationError as error:
        raise _violation(fields, str(error)) from error


async def _read(http: Request) -> bytes:
    declared = http.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
        raise too_large("the body", MAX_BODY_BYTES)
    body = bytearray()
    async for piece in http.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise too_large("the body", MAX_BODY_BYTES)
    return bytes(body)


def _violation(fields: dict[str, object], report: str) -> RequestError:
    """msgspec's report, such as "Expected `int` <= 20 - at `$.logprobs`", in our words."""
    match = _VIOLATION.fullmatch(report)
    assert match  # every text does
    problem = match["problem"].replace("`", "").replace(" | ", " or ")
    problem = problem[:1].lower() + problem[1:]
    path = match["path"]
    if not path:  # about the object itself: mostly, a required field is missing
        return RequestError(f"the body is no request: {problem}", code="missing_field")
    param = path.partition("[")[0].partition(".")[0]
    shown = _show(fields[path]) if path in fields else ""
    code = next((word for sign, word in _BOUNDS.items() if sign in problem), "invalid_value")
    return RequestError(f"'{path}'{shown}: {problem}", code=code, param=param)


def _show(value: object) -> str:
    if isinstance(value, dict | list):
        return ""
    text = json.dumps(value, default=repr)  # JSON has no bytes, but callers in this process do
    return f" is {text[:_MAX_SHOWN]}{'…' if len(text) > _MAX_SHOWN else ''}"
