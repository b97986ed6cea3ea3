"""Request bodies: strict JSON of bounded size, converted to wire types.

Strict means what RFC 8259 and I-JSON say and Python's parser alone does not: no NaN or Infinity,
no number beyond double precision, no lone surrogate, no key twice.
"""

import json
import math
import re
from typing import NoReturn, TypeVar

import msgspec
from starlette.requests import Request

from motet.errors import PayloadTooLarge, RequestError

MAX_BODY_BYTES = 4 * 1024 * 1024
_MAX_SHOWN = 40  # characters of a wrong value that a message repeats

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_VIOLATION = re.compile(r"(?P<problem>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)

T = TypeVar("T")


async def read_json(http: Request) -> dict[str, object]:
    """The JSON object that the client sends. Raises RequestError, also when it is too large."""
    media_type = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise RequestError(
            "the body must be JSON: send the header Content-Type: application/json",
            code="unsupported_content_type",
        )
    return parse_object(await _read(http))


def parse_object(body: bytes) -> dict[str, object]:
    """The JSON object in `body`, without the fields that are null."""
    try:
        text = body.decode()
        value = _DECODER.decode(text)
        if _SURROGATE_ESCAPE.search(text):
            json.dumps(value, ensure_ascii=False).encode()  # fails on a surrogate without its half
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _invalid(f"the body is not valid JSON ({place})") from error
    except UnicodeError as error:
        raise _invalid("the body is not valid UTF-8, or escapes half a surrogate pair") from error
    except RecursionError as error:
        raise _invalid("the body is nested too deeply") from error
    except ValueError as error:  # from int: more digits than Python converts
        raise _invalid("the body has a number of thousands of digits") from error
    if not isinstance(value, dict):
        raise _invalid("the body must be a JSON object")
    return {name: field for name, field in value.items() if field is not None}


def convert(fields: dict[str, object], wire_type: type[T]) -> T:
    """`fields` as `wire_type`. Raises RequestError that names the field and its value."""
    try:
        return msgspec.convert(fields, wire_type)
    except msgspec.ValidationError as error:
        raise _violation(fields, str(error)) from error


async def _read(http: Request) -> bytes:
    declared = http.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
        raise _too_large()
    body = bytearray()
    async for piece in http.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
    return bytes(body)


def _violation(fields: dict[str, object], report: str) -> RequestError:
    """msgspec's report, such as "Expected `int` <= 20 - at `$.logprobs`", in our words."""
    match = _VIOLATION.fullmatch(report)
    assert match  # every text does
    problem = match["problem"].replace("`", "").replace(" | ", " or ")
    problem = problem[:1].lower() + problem[1:]
    path = match["path"]
    if not path:  # about the object itself: a required field is missing
        return RequestError(f"the request is incomplete: {problem}", code="missing_field")
    param = path.partition("[")[0].partition(".")[0]
    shown = _show(fields.get(param)) if param == path else ""
    return RequestError(f"'{path}'{shown}: {problem}", param=param)


def _show(value: object) -> str:
    if isinstance(value, dict | list):
        return ""
    text = json.dumps(value)
    return f" is {text[:_MAX_SHOWN]}{'…' if len(text) > _MAX_SHOWN else ''}"


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise _invalid("an object in the body has the same key twice")
    return unique


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _invalid("the body has a number that is too large for double precision")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise _invalid(f"the body is not valid JSON: {name} is no JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse_constant
)


def _invalid(message: str) -> RequestError:
    return RequestError(message, code="invalid_json")


def _too_large() -> PayloadTooLarge:
    limit = f"{MAX_BODY_BYTES // 1024**2} MiB"
    return PayloadTooLarge(f"the body is larger than {limit}: send less", code="body_too_large")
