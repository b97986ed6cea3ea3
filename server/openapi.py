"""The OpenAPI document, from the table of routes and the wire types."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from motet.client.protocol import ErrorResponse

_REFERENCE = "#/components/schemas/{name}"


def describe(path: str, body: type | None, answer: type | None) -> dict[str, Any]:
    """What FastAPI cannot know of a route: its parameters and the types of body and answers."""
    responses = {"default": {"description": "Error", **_json(ErrorResponse)}}
    if answer is not None:
        responses["200"] = {"description": "OK", **_json(answer)}
    names = re.findall(r"{(\w+)", path)
    described: dict[str, Any] = {"responses": responses, "parameters": [*map(_in_path, names)]}
    if body is not None:
        described["requestBody"] = {"required": True, **_json(body)}
    return described


def install(app: FastAPI, types: Iterable[type | None]) -> None:
    """Let `app.openapi()` contain the schemas of `types`."""
    named = [kind for kind in (*types, ErrorResponse) if kind is not None]
    _, schemas = msgspec.json.schema_components(named, ref_template=_REFERENCE)

    def openapi() -> dict[str, Any]:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        document.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _json(kind: type) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(name=kind.__name__)}
    return {"content": {"application/json": {"schema": schema}}}
