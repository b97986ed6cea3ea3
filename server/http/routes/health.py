"""Is the process alive, is it ready, what is it."""

from starlette.requests import Request
from starlette.responses import Response

import motet
from motet.client.protocol import Status, Version
from motet.engine import EngineStatus
from motet.server.http.responses import json_response
from motet.server.http.service import Service


async def health(service: Service, http: Request) -> Response:
    """The process answers; 503 when its engine has failed and only a restart can help."""
    if service.engine.status is EngineStatus.FAILED:
        _ = service.engine.info  # says so
    return json_response(Status(status="ok"))


async def ready(service: Service, http: Request) -> Response:
    """A completion would be answered; 503 until then."""
    _ = service.served
    return json_response(Status(status="ready"))


async def version(service: Service, http: Request) -> Response:
    """The version of motet."""
    return json_response(Version(version=motet.__version__))
