"""Request bodies: JSON of bounded size, read as wishes."""

from collections.abc import AsyncIterator
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

JSON = "application/json"
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


async def read_options(service: Service, http: Request, wire_type: type[T]) -> T:
    """As `read_body`; no body at all is one without fields."""
    headers = http.headers
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return convert({}, wire_type)
    return await read_body(service, http, wire_type)


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
    if media_type(http) != JSON:
        raise not_json()
    body = await read_bytes(http, MAX_BODY_BYTES)
    if len(body) <= MAX_REST_BYTES:
        return parse_object(body)
    if large is None:
        raise too_large("the body", MAX_REST_BYTES)
    return await aside.run(parse_large_object, body, large)


def media_type(http: Request) -> str:
    return http.headers.get("content-type", "").partition(";")[0].strip().lower()


def not_json() -> RequestError:
    return RequestError(
        f"the body must be JSON: send the header Content-Type: {JSON}",
        code="unsupported_content_type",
    )


async def read_bytes(http: Request, max_bytes: int) -> bytes:
    """All of the body. Raises PayloadTooLarge."""
    body = bytearray()
    async for block in blocks(http, max_bytes):
        body += block
    return bytes(body)


async def blocks(http: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """The body as it comes. Raises PayloadTooLarge, before any of it where its length is told."""
    declared = http.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise too_large("the body", max_bytes)
    num_bytes = 0
    async for block in http.stream():
        num_bytes += len(block)
        if num_bytes > max_bytes:
            raise too_large("the body", max_bytes)
        yield block
