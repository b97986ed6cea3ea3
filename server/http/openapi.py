"""The OpenAPI document, from the table of routes and the wire types."""

import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from motet.client.protocol import (
    ChatChunk,
    ChatRequest,
    CompletionChunk,
    CompletionRequest,
    ErrorResponse,
)
from motet.server.http.errors import ANSWERS

EVENTS: dict[type, type] = {CompletionRequest: CompletionChunk, ChatRequest: ChatChunk}
"""Body -> what the events of the answer are when it says `stream`."""

_REFERENCE = "#/components/schemas/{name}"


def describe(
    path: str, body: type | None, answer: type | None, query: type | None = None
) -> dict[str, Any]:
    """What FastAPI cannot know of a route: its parameters and the types of body and answers."""
    ok = _json(answer) if answer is not None else {"text/plain": {"schema": {"type": "string"}}}
    if body in EVENTS:
        ok |= _events(EVENTS[body])
    responses = {"200": {"description": "OK", "content": ok}}
    for status in sorted({row.status for row in ANSWERS.values()}):
        phrase = HTTPStatus(status).phrase
        responses[str(status)] = {"description": phrase, "content": _json(ErrorResponse)}
    names = re.findall(r"{(\w+)", path)
    described: dict[str, Any] = {"responses": responses, "parameters": [*map(_in_path, names)]}
    if query is not None:
        described["parameters"] += map(_in_query, msgspec.structs.fields(query))
    if body is not None:
        described["requestBody"] = {"required": True, "content": _json(body)}
    return described


def install(app: FastAPI, types: Iterable[type | None]) -> None:
    """Let `app.openapi()` contain the schemas of `types`."""
    named = [kind for kind in (*types, *EVENTS.values(), ErrorResponse) if kind is not None]
    _, schemas = msgspec.json.schema_components(named, ref_template=_REFERENCE)

    def openapi() -> dict[str, Any]:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        bodies = {name: _with_null(schemas[name]) for name in _bodies(document)}
        document.setdefault("components", {}).setdefault("schemas", {}).update(schemas | bodies)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _bodies(document: dict[str, Any]) -> Iterator[str]:
    """Names of the schemas of all request bodies."""
    for operations in document["paths"].values():
        for operation in operations.values():
            if "requestBody" in operation:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                yield schema["$ref"].rpartition("/")[2]


def _with_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a body, in which null means the same as leaving a field out."""
    null = {"type": "null"}
    optional = schema["properties"].keys() - set(schema["required"])
    changed = {
        name: {"anyOf": [field, null]} if name in optional else field
        for name, field in schema["properties"].items()
    }
    return schema | {"properties": changed}


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _in_query(field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    schema = msgspec.json.schema(field.type) | {"default": field.default}
    return {"name": field.name, "in": "query", "required": False, "schema": schema}


def _json(kind: type) -> dict[str, Any]:
    return {"application/json": {"schema": _reference(kind)}}


def _events(kind: type) -> dict[str, Any]:
    """A stream of `kind` that ends with an error or with `[DONE]`."""
    content = {"anyOf": [_reference(kind), _reference(ErrorResponse)]}
    said = {"type": "string", "contentMediaType": "application/json", "contentSchema": content}
    data = {"anyOf": [said, {"const": "[DONE]"}]}
    item = {"type": "object", "required": ["data"], "properties": {"data": data}}
    return {"text/event-stream": {"itemSchema": item}}


def _reference(kind: type) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=kind.__name__)}
