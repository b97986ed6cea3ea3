"""The HTTP application: a table of routes around one engine."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

import motet
from motet.adapter_places import NOWHERE, AdapterPlaces
from motet.client.protocol import (
    AdapterList,
    AdapterQuery,
    AgentEvent,
    AgentList,
    AgentQuery,
    AgentState,
    ChangeAgentRequest,
    ChatRequest,
    ChatResponse,
    CompletionRequest,
    CompletionResponse,
    DetokenizeRequest,
    DetokenizeResponse,
    LoadAdapterRequest,
    LoadedAdapters,
    Memory,
    ModelCard,
    ModelList,
    MoveAnswer,
    MoveRequest,
    PushAnswer,
    PushRequest,
    RegisterAgentRequest,
    RetainRequest,
    Status,
    TickRequest,
    TokenizeRequest,
    TokenizeResponse,
    UnloadAdapterRequest,
    UpdateRequest,
    Version,
    WarmAnswer,
    WarmRequest,
)
from motet.engine import Engine
from motet.server.http import errors, openapi
from motet.server.http.access import ApiKeys, Control, Cors
from motet.server.http.config import ServerConfig
from motet.server.http.request_ids import RequestIds
from motet.server.http.routes.adapters import list_adapters, pin_adapter, unpin_adapter
from motet.server.http.routes.agent_moves import (
    demote_agent,
    evict_agent,
    prefetch_agent,
    retain_agent,
    tell_event,
)
from motet.server.http.routes.agents import (
    change_agent,
    forget_agent,
    get_agent,
    list_agents,
    register_agent,
)
from motet.server.http.routes.chat import create_chat_completion
from motet.server.http.routes.completions import create_completion
from motet.server.http.routes.distances import push_distances, tick, update
from motet.server.http.routes.health import health, ready, version
from motet.server.http.routes.loading import (
    load_lora_adapter,
    load_lora_adapter_sglang,
    unload_lora_adapter,
    unload_lora_adapter_sglang,
)
from motet.server.http.routes.memory import memory, reset_prefix_cache
from motet.server.http.routes.metrics import metrics
from motet.server.http.routes.models import get_model, list_models
from motet.server.http.routes.tokens import detokenize, tokenize
from motet.server.http.routes.warm import warm_agent
from motet.server.http.service import Service
from motet.server.text.given_formats import NOTHING_GIVEN, GivenFormats

Handle = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    handle: Callable[[Service, Request], Awaitable[Response]]
    answer: type | None
    """Wire type of a 200; None is not JSON."""
    body: type | None = None
    query: type | None = None
    is_control: bool = False
    """Changes what is served to others: for those whom `Control` lets."""


def _control(
    path: str,
    handle: Callable[[Service, Request], Awaitable[Response]],
    answer: type | None,
    body: type | None = None,
) -> Route:
    return Route("POST", path, handle, answer, body, is_control=True)


ROUTES = (
    Route("POST", "/v1/completions", create_completion, CompletionResponse, CompletionRequest),
    Route("POST", "/v1/chat/completions", create_chat_completion, ChatResponse, ChatRequest),
    Route("POST", "/tokenize", tokenize, TokenizeResponse, TokenizeRequest),
    Route("POST", "/detokenize", detokenize, DetokenizeResponse, DetokenizeRequest),
    Route("GET", "/v1/models", list_models, ModelList),
    Route("GET", "/v1/models/{model:path}", get_model, ModelCard),
    Route("GET", "/v1/adapters", list_adapters, AdapterList, query=AdapterQuery),
    Route("GET", "/v1/memory", memory, Memory),
    _control("/v1/load_lora_adapter", load_lora_adapter, None, LoadAdapterRequest),
    _control("/v1/unload_lora_adapter", unload_lora_adapter, None, UnloadAdapterRequest),
    _control("/load_lora_adapter", load_lora_adapter_sglang, LoadedAdapters, LoadAdapterRequest),
    _control(
        "/unload_lora_adapter", unload_lora_adapter_sglang, LoadedAdapters, UnloadAdapterRequest
    ),
    _control("/v1/adapters/{name:path}/pin", pin_adapter, AdapterList),
    _control("/v1/adapters/{name:path}/unpin", unpin_adapter, AdapterList),
    _control("/reset_prefix_cache", reset_prefix_cache, Status),
    Route("POST", "/v1/agents/distances", push_distances, PushAnswer, PushRequest),
    Route("POST", "/v1/update", update, PushAnswer, UpdateRequest),
    Route("POST", "/v1/agents/tick", tick, Status, TickRequest),
    Route("POST", "/v1/events", tell_event, MoveAnswer, AgentEvent),
    Route("POST", "/v1/agents", register_agent, AgentState, RegisterAgentRequest),
    Route("GET", "/v1/agents", list_agents, AgentList, query=AgentQuery),
    Route("POST", "/v1/agents/{agent:path}/prefetch", prefetch_agent, MoveAnswer, MoveRequest),
    Route("POST", "/v1/agents/{agent:path}/demote", demote_agent, MoveAnswer, MoveRequest),
    Route("POST", "/v1/agents/{agent:path}/evict", evict_agent, MoveAnswer, MoveRequest),
    Route("POST", "/v1/agents/{agent:path}/retain", retain_agent, MoveAnswer, RetainRequest),
    Route("POST", "/v1/agents/{agent:path}/warm", warm_agent, WarmAnswer, WarmRequest),
    Route("GET", "/v1/agents/{agent:path}", get_agent, AgentState),
    Route("PATCH", "/v1/agents/{agent:path}", change_agent, AgentState, ChangeAgentRequest),
    Route("DELETE", "/v1/agents/{agent:path}", forget_agent, MoveAnswer),
    Route("GET", "/health", health, Status),
    Route("GET", "/ready", ready, Status),
    Route("GET", "/version", version, Version),
    Route("GET", "/metrics", metrics, None),
)


def create_app(
    engine: Engine,
    config: ServerConfig,
    given_formats: GivenFormats = NOTHING_GIVEN,
    places: AdapterPlaces = NOWHERE,
) -> FastAPI:
    """An application that starts `engine` when it starts and stops it when it stops.

    Adapters may come from `places` later.

    `app.state.service` is the Service; `await app.state.service.ready()` waits until requests are
    served and raises what loading raised.
    """
    service = Service(engine, config, given_formats, places)
    control = Control(config)

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
    keys = (*config.api_key, *config.admin_api_key) if config.api_key else ()
    app.add_middleware(ApiKeys, keys=keys)  # the last one added comes first
    app.add_middleware(Cors, origins=config.allowed_origin)
    app.add_middleware(RequestIds)
    errors.install(app)
    for route in ROUTES:
        _add(app, route, service, control)
    openapi.install(app, [kind for route in ROUTES for kind in (route.body, route.answer)])
    return app


def _add(app: FastAPI, route: Route, service: Service, control: Control) -> None:
    handle: Handle = partial(route.handle, service)
    if route.is_control:
        handle = partial(_controlled, control, handle)
    app.add_api_route(
        route.path,
        handle,
        methods=[route.method],
        name=route.handle.__name__,
        description=route.handle.__doc__,
        response_class=Response,
        openapi_extra=openapi.describe(route.path, route.body, route.answer, route.query),
    )
    if route.method == "GET":  # uvicorn leaves out the body
        app.add_route(route.path, handle, methods=["HEAD"], include_in_schema=False)


async def _controlled(control: Control, handle: Handle, http: Request) -> Response:
    control.check(http.headers)
    return await handle(http)
