"""Strict JSON: what RFC 8259 and I-JSON say, where Python's parser alone says less.

No NaN or Infinity, no number beyond double precision, no lone surrogate, no key twice.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from motet.errors import RequestError

_MAX_NAME = 64  # of a field that a message repeats
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_object(text: bytes, *, inside: str | None = None) -> dict[str, object]:
    """The JSON object in `text`, without the fields that are null.

    Raises RequestError that names the field at fault where that is known; of a part of a body,
    that is the one that it is `inside`.
    """
    try:
        decoded = text.decode()
    except UnicodeError as error:
        raise invalid("is not valid UTF-8", inside) from error
    try:
        value = _STRICT.decode(decoded)
        if _SURROGATE_ESCAPE.search(decoded):
            json.dumps(value, ensure_ascii=False).encode()  # fails on a surrogate without its half
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise invalid(f"is not valid JSON ({place})", inside) from error
    except RecursionError as error:
        raise invalid("is nested too deeply", inside) from error
    except UnicodeError as error:
        problem = "escapes half a surrogate pair"
        raise invalid(problem, inside or _culprit(decoded)) from error
    except _Violation as error:
        raise invalid(str(error), inside or _culprit(decoded)) from error
    except ValueError as error:  # from int: more digits than Python converts
        problem = "has a number of thousands of digits"
        raise invalid(problem, inside or _culprit(decoded)) from error
    if not isinstance(value, dict):
        raise invalid("must be a JSON object", inside)
    return {name: field for name, field in value.items() if field is not None}


def invalid(problem: str, field: str | None = None) -> RequestError:
    """What is wrong with the body, or with a field in it."""
    what = "the body" if field is None else f"'{field}' in the body"
    param = None if field is None else field.partition("[")[0]
    return RequestError(f"{what} {problem}", code="invalid_json", param=param)


class _Violation(Exception):
    """JSON that Python's parser would take."""


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise _Violation("has the same key twice in one object")
    return unique


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _Violation("has a number that is too large for double precision")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise _Violation(f"has {name}, which is no JSON number")


_STRICT = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse_constant
)


# The strict parser knows what is wrong and not where. To tell, a second one marks what is wrong.


@dataclass(frozen=True, slots=True)
class _Object:
    pairs: list[tuple[str, object]]


_WRONG = object()


def _culprit(text: str) -> str | None:
    """The field of the object in `text` that is at fault, if it has a name to repeat."""
    try:
        marked = _MARKING.decode(text)
        names = _faulty(marked.pairs) if isinstance(marked, _Object) else iter(())
        name = next(names, None)
    except RecursionError:
        return None
    return name if name and len(name) <= _MAX_NAME and name.isprintable() else None


def _faulty(pairs: Iterable[tuple[str, object]]) -> Iterator[str]:
    seen = set()
    for name, value in pairs:
        if name in seen or _SURROGATE.search(name) or _is_wrong(value):
            yield name
        seen.add(name)


def _is_wrong(value: object) -> bool:
    match value:
        case str():
            return _SURROGATE.search(value) is not None
        case list():
            return any(map(_is_wrong, value))
        case _Object(pairs):
            return next(_faulty(pairs), None) is not None
    return value is _WRONG


def _mark_infinite(text: str) -> object:
    return _WRONG if math.isinf(float(text)) else 0.0


def _mark_unending(text: str) -> object:
    try:
        return int(text)
    except ValueError:
        return _WRONG


_MARKING = json.JSONDecoder(
    object_pairs_hook=_Object,
    parse_float=_mark_infinite,
    parse_int=_mark_unending,
    parse_constant=lambda _: _WRONG,
)
