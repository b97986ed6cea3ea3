"""Request bodies: strict JSON of bounded size, converted to wire types.

Strict means what RFC 8259 and I-JSON say and Python's parser alone does not: no NaN or Infinity,
no number beyond double precision, no lone surrogate, no key twice.

Python's parser holds the GIL and would stop every stream for seconds over a hostile body of full
size. It sees only small ones; of larger ones msgspec reads the prompt, and it the rest.
"""

import json
import math
import re
from typing import NoReturn, TypeVar

import msgspec
from starlette.requests import Request

from motet.errors import PayloadTooLarge, RequestError
from motet.server.aside import Aside

MAX_BODY_BYTES = 4 * 1024 * 1024
SMALL_BODY_BYTES = 256 * 1024
"""A body without its prompt is not larger."""

_MAX_SHOWN = 40  # characters of a wrong value that a message repeats

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_NESTED = re.compile(rb"\[\s*\[")
_VIOLATION = re.compile(r"(?P<problem>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)

T = TypeVar("T")


class _Outline(msgspec.Struct):
    prompt: msgspec.Raw = msgspec.Raw()


class _Prompt(msgspec.Struct):
    prompt: str | list[int | str]


class _NestedPrompt(msgspec.Struct):
    prompt: tuple[list[int]]  # a list of many lists is refused at the second


async def read_json(http: Request, aside: Aside) -> dict[str, object]:
    """The JSON object that the client sends. Raises RequestError, also when it is too large."""
    media_type = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise RequestError(
            "the body must be JSON: send the header Content-Type: application/json",
            code="unsupported_content_type",
        )
    body = await _read(http)
    if len(body) <= SMALL_BODY_BYTES:
        return parse_object(body)
    return await aside.run(parse_large_object, body)


def parse_large_object(body: bytes) -> dict[str, object]:
    """As `parse_object`, for a `body` of which only the prompt may be large."""
    prompt = bytes(_decode(body, _Outline).prompt)
    rest = body.replace(prompt, b"0", 1) if prompt else body
    if len(rest) > SMALL_BODY_BYTES:
        raise _too_large("the body without its 'prompt'", SMALL_BODY_BYTES)
    kind: type[_Prompt | _NestedPrompt] = _NestedPrompt if _NESTED.match(prompt) else _Prompt
    return parse_object(rest) | {"prompt": _decode(body, kind).prompt}


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


def _decode(body: bytes, kind: type[T]) -> T:
    """What `kind` has of the JSON object in `body`. Raises RequestError."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _violation({}, str(error)) from error
    except msgspec.DecodeError as error:
        raise _invalid(f"the body is not valid JSON ({error})") from error
    except UnicodeError as error:
        raise _invalid("the body is not valid UTF-8") from error
    except RecursionError as error:
        raise _invalid("the body is nested too deeply") from error


async def _read(http: Request) -> bytes:
    declared = http.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
        raise _too_large("the body", MAX_BODY_BYTES)
    body = bytearray()
    async for piece in http.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise _too_large("the body", MAX_BODY_BYTES)
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


def _too_large(what: str, max_bytes: int) -> PayloadTooLarge:
    limit = f"{max_bytes // 1024} KiB"
    return PayloadTooLarge(f"{what} is larger than {limit}: send less", code="body_too_large")
