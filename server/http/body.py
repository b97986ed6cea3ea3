"""Request bodies: JSON of bounded size, read as wishes."""

from typing import TypeVar

import msgspec
from starlette.requests import Request

from motet.client.protocol import GenerationRequest
from motet.errors import RequestError
from motet.server.http.aside import Aside
from motet.server.http.service import Service
from motet.server.openai.convert import convert
from motet.server.openai.large_json import MAX_REST_BYTES, parse_large_object, too_large
from motet.server.openai.strict_json import parse_object
from motet.server.openai.wishes import LARGE_FIELD, wish_of

MAX_BODY_BYTES = 4 * 1024 * 1024

W = TypeVar("W", bound=GenerationRequest)
T = TypeVar("T", bound=msgspec.Struct)


async def read_wish(service: Service, http: Request, wire_type: type[W]) -> W:
    """What the client wishes. Raises RequestError, also for what this version does not do."""
    fields = await read_fields(service, http, wire_type)
    return wish_of(fields, service.served.defaults, wire_type)


async def read_body(service: Service, http: Request, wire_type: type[T]) -> T:
    """A body that asks for no text. Raises RequestError."""
    return convert(await read_fields(service, http, wire_type), wire_type)


def read_query(http: Request, wire_type: type[T]) -> T:
    """The parameters behind the path. Raises RequestError."""
    return convert(dict(http.query_params), wire_type, strict=False)


async def read_fields(
    service: Service, http: Request, wire_type: type[msgspec.Struct]
) -> dict[str, object]:
    """What the body gives of `wire_type`, not converted yet. Raises RequestError."""
    fields = await _read_json(http, service.aside, LARGE_FIELD.get(wire_type))
    service.note_ignored(fields.keys() - set(wire_type.__struct_fields__))
    return fields


async def _read_json(http: Request, aside: Aside, large: str | None) -> dict[str, object]:
    """The JSON object that the client sends, without the fields that are null.

    `large` is the field that may be large, if there is one. Raises RequestError.
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
    if large is None:
        raise too_large("the body", MAX_REST_BYTES)
    return await aside.run(parse_large_object, body, large)


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
