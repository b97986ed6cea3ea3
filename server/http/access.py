"""Who may ask: API keys, and which web pages a browser lets read the answers."""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from motet.errors import Forbidden, RequestError, Unauthorized
from motet.server.http.config import ServerConfig
from motet.server.http.errors import response_to
from motet.server.http.request_ids import HEADER
from motet.server.openai.answers import GENERATION_HEADER

PUBLIC = {("GET", "/health"), ("HEAD", "/health"), ("GET", "/ready"), ("HEAD", "/ready")}
"""Answered without a key: probes have none."""

LOCAL_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?"
"""Pages of this machine may always read the answers."""

EXPOSED_HEADERS = (HEADER, GENERATION_HEADER, "Retry-After")


_TENANT = "tenant"
_TENANT_CHARS = 16


class ApiKeys:
    """ASGI middleware: whatever is not PUBLIC needs one of `keys`, unless there are none.

    It decides on nothing but method, path and the two headers that carry a key.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[str]) -> None:
        self._app = app
        self._keys = _Keys(keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or not self._keys:
            await self._app(scope, receive, send)
            return
        tenant = self._keys.tenant(dict(scope["headers"]))
        if tenant is None and (scope["method"], scope["path"]) not in PUBLIC:
            await response_to(_unauthorized("an API key"))(scope, receive, send)
            return
        scope.setdefault("state", {})[_TENANT] = tenant or ""
        await self._app(scope, receive, send)


def tenant_of(scope: Scope) -> str:
    """Names the key that a request came with, without telling it; empty: no key is needed.

    Agents of one tenant cannot be reached by another.
    """
    named: str = scope["state"].get(_TENANT, "")
    return named


class Control:
    """Who may change what is served: who has an admin's key; without such keys, this machine."""

    def __init__(self, config: ServerConfig) -> None:
        self._keys = _Keys(config.admin_api_key)
        self._is_local = config.is_local
        self._origins = frozenset(config.allowed_origin)  # a star is no page that is trusted

    def check(self, headers: Headers) -> None:
        """Raises Forbidden and Unauthorized."""
        if self._keys:
            self._check_key(headers)
        elif not self._is_local:
            raise Forbidden(
                "this server can be reached from other machines and has no key for this: start it "
                "with --admin-api-key KEY, or with --host 127.0.0.1",
                code="admin_key_required",
            )
        else:
            self._check_page(headers.get("origin"))

    def _check_key(self, headers: Headers) -> None:
        raw = dict(headers.raw)
        if self._keys.are_in(raw):
            return
        if not any(_keys_in(raw)):
            raise _unauthorized("an admin's API key for this")
        raise Forbidden(
            "this needs an admin's API key, which yours is not: use one of those that the server "
            "was started with as --admin-api-key",
            code="admin_key_required",
        )

    def _check_page(self, origin: str | None) -> None:
        """A browser on this machine asks for any page that it shows."""
        if origin is None or origin in self._origins or re.fullmatch(LOCAL_ORIGIN, origin):
            return
        raise Forbidden(
            f"the page {origin!r:.80} may not do this: name it with --allowed-origin",
            code="origin_not_allowed",
        )


class _Keys:
    """Kept as digests, all compared in constant time: how long it takes tells nothing of a key."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def are_in(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether one of them is."""
        return self.tenant(headers) is not None

    def tenant(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Who has the first of them that is there; None: there is none."""
        given = [_digest(key) for key in _keys_in(headers)]
        found = [g for g in given for known in self._digests if hmac.compare_digest(g, known)]
        return found[0].hex()[:_TENANT_CHARS] if found else None


def _unauthorized(what: str) -> Unauthorized:
    return Unauthorized(
        f"this server needs {what}: send it as 'Authorization: Bearer KEY' or 'X-Api-Key: KEY'",
        code="invalid_api_key",
    )


class Cors(CORSMiddleware):
    """ASGI middleware: answers the preflights of allowed pages, and lets them read.

    To all other pages there is no such thing: their preflight is a request like any other.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_origin_regex=LOCAL_ORIGIN,
            allow_methods=("GET", "HEAD", "POST", "PATCH", "DELETE"),
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


def _keys_in(headers: Mapping[bytes, bytes]) -> list[bytes]:
    """Where a client may have put its key."""
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    bearer = token.strip() if scheme.lower() == b"bearer" else b""
    return [bearer, headers.get(b"x-api-key", b"").strip()]


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
