"""Every answer carries an X-Request-Id: the client's own, or a new one."""

import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-Id"
_ACCEPTABLE = re.compile(r"[\x21-\x7e]{1,128}")


class RequestIds:
    """ASGI middleware. An id that could break a log line or a header is replaced."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        chosen = given if _ACCEPTABLE.fullmatch(given) else new_id()
        scope.setdefault("state", {})["request_id"] = chosen

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = chosen
            await send(message)

        await self._app(scope, receive, send_with_id)


def new_id() -> str:
    """For a request without an id of its own."""
    return uuid.uuid4().hex


def request_id(scope: Scope) -> str:
    """The id of the request, known below the middleware."""
    chosen: str = scope["state"]["request_id"]
    return chosen
