"""Fields of a body as the types of the protocol: errors name the field and its value."""

import json
import re
from typing import TypeVar

import msgspec

from motet.errors import RequestError

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


def convert(fields: dict[str, object], wire_type: type[T], *, strict: bool = True) -> T:
    """`fields` as `wire_type`. Raises RequestError that names the field and its value.

    Unless it is `strict`, numbers may be written as texts, as they are in a query.
    """
    try:
        return msgspec.convert(fields, wire_type, strict=strict)
    except msgspec.ValidationError as error:
        raise _violation(fields, str(error)) from error


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
    shown = _show(_at(path, fields))
    code = next((word for sign, word in _BOUNDS.items() if sign in problem), "invalid_value")
    return RequestError(f"'{path}'{shown}: {problem}", code=code, param=param)


def _at(path: str, fields: object) -> object:
    """What stands there, unless it is in a list."""
    for name in path.split("."):
        fields = fields.get(name, {}) if isinstance(fields, dict) else {}
    return fields


def _show(value: object) -> str:
    if isinstance(value, dict | list):
        return ""
    text = json.dumps(value, default=repr)  # JSON has no bytes, but callers in this process do
    return f" is {text[:_MAX_SHOWN]}{'…' if len(text) > _MAX_SHOWN else ''}"
