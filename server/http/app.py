"""The HTTP application: a table of routes around one engine."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

import motet
from motet.client.protocol import (
    ChatRequest,
    ChatResponse,
    CompletionRequest,
    CompletionResponse,
    DetokenizeRequest,
    DetokenizeResponse,
    ModelCard,
    ModelList,
    Status,
    TokenizeRequest,
    TokenizeResponse,
    Version,
)
from motet.engine import Engine
from motet.server.http import errors, openapi
from motet.server.http.access import ApiKeys, Cors
from motet.server.http.config import ServerConfig
from motet.server.http.request_ids import RequestIds
from motet.server.http.routes.chat import create_chat_completion
from motet.server.http.routes.completions import create_completion
from motet.server.http.routes.health import health, ready, version
from motet.server.http.routes.metrics import metrics
from motet.server.http.routes.models import get_model, list_models
from motet.server.http.routes.tokens import detokenize, tokenize
from motet.server.http.service import Service
from motet.server.text.given_formats import NOTHING_GIVEN, GivenFormats


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    handle: Callable[[Service, Request], Awaitable[Response]]
    answer: type | None
    """Wire type of a 200; None is not JSON."""
    body: type | None = None


ROUTES = (
    Route("POST", "/v1/completions", create_completion, CompletionResponse, CompletionRequest),
    Route("POST", "/v1/chat/completions", create_chat_completion, ChatResponse, ChatRequest),
    Route("POST", "/tokenize", tokenize, TokenizeResponse, TokenizeRequest),
    Route("POST", "/detokenize", detokenize, DetokenizeResponse, DetokenizeRequest),
    Route("GET", "/v1/models", list_models, ModelList),
    Route("GET", "/v1/models/{model:path}", get_model, ModelCard),
    Route("GET", "/health", health, Status),
    Route("GET", "/ready", ready, Status),
    Route("GET", "/version", version, Version),
    Route("GET", "/metrics", metrics, None),
)


def create_app(
    engine: Engine, config: ServerConfig, given_formats: GivenFormats = NOTHING_GIVEN
) -> FastAPI:
    """An application that starts `engine` when it starts and stops it when it stops.

    `app.state.service` is the Service; `await app.state.service.ready()` waits until requests are
    served and raises what loading raised.
    """
    service = Service(engine, config, given_formats)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="motet",
        version=motet.__version__,
        lifespan=lifespan,
        docs_url=None,  # these pages would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # to where the Host header says
    )
    app.state.service = service
    app.add_middleware(ApiKeys, keys=config.api_key)  # the last one added comes first
    app.add_middleware(Cors, origins=config.allowed_origin)
    app.add_middleware(RequestIds)
    errors.install(app)
    for route in ROUTES:
        _add(app, route, service)
    openapi.install(app, [kind for route in ROUTES for kind in (route.body, route.answer)])
    return app


def _add(app: FastAPI, route: Route, service: Service) -> None:
    handle = partial(route.handle, service)
    app.add_api_route(
        route.path,
        handle,
        methods=[route.method],
        name=route.handle.__name__,
        description=route.handle.__doc__,
        response_class=Response,
        openapi_extra=openapi.describe(route.path, route.body, route.answer),
    )
    if route.method == "GET":  # uvicorn leaves out the body
        app.add_route(route.path, handle, methods=["HEAD"], include_in_schema=False)
