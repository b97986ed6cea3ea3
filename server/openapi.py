"""The OpenAPI document, from the table of routes and the wire types."""

import re
from collections.abc import Iterable
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
from motet.server.errors import ANSWERS

EVENTS: dict[type, type] = {CompletionRequest: CompletionChunk, ChatRequest: ChatChunk}
"""Body -> what the events of the answer are when it says `stream`."""

_REFERENCE = "#/components/schemas/{name}"


def describe(path: str, body: type | None, answer: type | None) -> dict[str, Any]:
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
    if body is not None:
        described["requestBody"] = {"required": True, "content": _json(body)}
    return described


def install(app: FastAPI, types: Iterable[type | None]) -> None:
    """Let `app.openapi()` contain the schemas of `types`."""
    named = [kind for kind in (*types, *EVENTS.values(), ErrorResponse) if kind is not None]
    _, schemas = msgspec.json.schema_components(named, ref_template=_REFERENCE)

    def openapi() -> dict[str, Any]:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        document.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


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
