"""Who may ask: API keys, and which web pages a browser lets read the answers."""

import hashlib
import hmac
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from motet.errors import RequestError, Unauthorized
from motet.server.http.errors import response_to
from motet.server.http.request_ids import HEADER
from motet.server.openai.answers import GENERATION_HEADER

PUBLIC = {("GET", "/health"), ("HEAD", "/health"), ("GET", "/ready"), ("HEAD", "/ready")}
"""Answered without a key: probes have none."""

LOCAL_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?"
"""Pages of this machine may always read the answers."""

EXPOSED_HEADERS = (HEADER, GENERATION_HEADER, "Retry-After")


class ApiKeys:
    """ASGI middleware: whatever is not PUBLIC needs one of `keys`, unless there are none.

    It decides on nothing but method, path and the two headers that carry a key. What it keeps are
    digests, all compared in constant time: how long a refusal takes tells nothing about a key.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[str]) -> None:
        self._app = app
        self._digests = [_digest(key.encode()) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or not self._digests or self._admits(scope):
            await self._app(scope, receive, send)
            return
        error = Unauthorized(
            "this server needs an API key: send it as 'Authorization: Bearer KEY' or 'X-Api-Key: "
            "KEY'",
            code="invalid_api_key",
        )
        await response_to(error)(scope, receive, send)

    def _admits(self, scope: Scope) -> bool:
        if (scope["method"], scope["path"]) in PUBLIC:
            return True
        given = [_digest(key) for key in _keys_in(dict(scope["headers"]))]
        return any([hmac.compare_digest(g, known) for g in given for known in self._digests])


class Cors(CORSMiddleware):
    """ASGI middleware: answers the preflights of allowed pages, and lets them read.

    To all other pages there is no such thing: their preflight is a request like any other.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_origin_regex=LOCAL_ORIGIN,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=("*",),
            expose_headers=EXPOSED_HEADERS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = Headers(scope=scope).get("origin") if scope["type"] == "http" else None
        if origin is None or not self.is_allowed_origin(origin):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code == 200:
            return response
        return response_to(RequestError("no path here has this method", code="method_not_allowed"))


def _keys_in(headers: dict[bytes, bytes]) -> list[bytes]:
    """Where a client may have put its key."""
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    bearer = token.strip() if scheme.lower() == b"bearer" else b""
    return [bearer, headers.get(b"x-api-key", b"").strip()]


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
