"""Errors as clients see them: one nested shape, on every path.

Only messages written for clients leave the server. Everything else is answered with a fixed text
and a request id that the operator finds in the log.
"""

from dataclasses import dataclass

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from motet.client.protocol import ErrorDetail, ErrorResponse
from motet.errors import (
    AdapterError,
    AgentNotFound,
    Draining,
    Forbidden,
    HeadersTooLarge,
    ModelNotFound,
    MotetError,
    PayloadTooLarge,
    RateLimited,
    RequestError,
    RequestTooSlow,
    Unauthorized,
    Unavailable,
    UrlTooLong,
)
from motet.server.http.request_ids import HEADER, request_id
from motet.server.http.responses import json_response


@dataclass(frozen=True, slots=True)
class Row:
    """How a class of errors is answered."""

    status: int
    type: str
    headers: tuple[tuple[str, str], ...] = ()


_RETRY = ("Retry-After", "1")

ANSWERS: dict[type[MotetError], Row] = {
    RequestError: Row(400, "invalid_request_error"),
    AdapterError: Row(400, "invalid_request_error"),
    Unauthorized: Row(401, "authentication_error", (("WWW-Authenticate", "Bearer"),)),
    Forbidden: Row(403, "permission_error"),
    ModelNotFound: Row(404, "not_found_error"),
    AgentNotFound: Row(404, "not_found_error"),
    RequestTooSlow: Row(408, "invalid_request_error"),
    PayloadTooLarge: Row(413, "invalid_request_error"),
    UrlTooLong: Row(414, "invalid_request_error"),
    RateLimited: Row(429, "rate_limit_error"),
    HeadersTooLarge: Row(431, "invalid_request_error"),
    Unavailable: Row(503, "server_error", (_RETRY,)),
    Draining: Row(503, "server_error", (_RETRY, ("Connection", "close"))),
}
"""Errors whose message is for the client. A class without a row is answered as its base is."""

INTERNAL = Row(500, "server_error")

HTTP_ERRORS = {
    404: ("unknown_url", "there is no such path: GET /openapi.json lists all of them"),
    405: ("method_not_allowed", "the path exists, the method does not: see the Allow header"),
}

CLIENT_CLOSED_REQUEST = 499
"""For the access log: the client that would read this status is gone."""


def row_of(error: Exception) -> Row:
    """The row of the nearest class of `error` that has one."""
    return next((ANSWERS[kind] for kind in type(error).__mro__ if kind in ANSWERS), INTERNAL)


def is_internal(error: Exception) -> bool:
    """Whether `error` is a bug of ours, of which clients learn nothing."""
    return row_of(error) is INTERNAL


def body_of(error: Exception) -> ErrorResponse:
    """What a client may know of `error`."""
    row = row_of(error)
    if row is INTERNAL:
        message = "something went wrong in the server; its log says what"
        return _body(message, row, code="internal_error")
    if isinstance(error, RequestError):
        return _body(str(error), row, code=error.code, param=error.param)
    assert isinstance(error, AdapterError | Unavailable)
    return _body(str(error), row, code=error.code)


def response_to(error: Exception) -> Response:
    """The answer to a request that ended in `error`."""
    row = row_of(error)
    headers = dict(row.headers)
    if isinstance(error, RateLimited):
        headers["Retry-After"] = str(error.retry_after_s)
    return json_response(body_of(error), row.status, headers)


def install(app: FastAPI) -> None:
    """Answer every error of `app` in the nested shape."""
    app.add_exception_handler(MotetError, _on_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_internal_error)


async def _on_error(http: Request, error: Exception) -> Response:
    if is_internal(error):
        raise error  # a bug: logged and answered like any other exception
    return response_to(error)


async def _on_http_exception(http: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code, message = HTTP_ERRORS.get(error.status_code, (None, error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(_allowed(http, headers.get("Allow", ""))))
    row = Row(error.status_code, "invalid_request_error", tuple(headers.items()))
    return json_response(_body(message, row, code=code), row.status, dict(row.headers))


def _allowed(http: Request, by_one: str) -> set[str]:
    """Methods of the path, which may have a route for each; one of them has found out `by_one`."""
    if "route" not in http.scope:
        return set(by_one.split(", "))
    path = http.scope["route"].path
    same = [r for r in http.app.routes if isinstance(r, Route) and r.path == path]
    return {method for route in same for method in route.methods or ()}


async def _on_disconnect(http: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _on_internal_error(http: Request, error: Exception) -> Response:
    """Starlette answers with this outside of all middleware, then raises for the log."""
    response = response_to(error)
    response.headers[HEADER] = request_id(http.scope)
    return response


def _body(message: str, row: Row, *, code: str | None, param: str | None = None) -> ErrorResponse:
    return ErrorResponse(error=ErrorDetail(message=message, type=row.type, param=param, code=code))
