"""Every route, and every way to get one wrong."""

import re
import threading
from collections.abc import AsyncIterator
from functools import reduce
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

import motet
from motet import errors
from motet.adapter_places import AdapterPlaces
from motet.client.protocol import CompletionRequest, ErrorResponse
from motet.engine import Adapter, AgentKey, AgentStatus, Engine
from motet.engine.config import MAX_NAME_LENGTH
from motet.engine.core import EngineCore
from motet.errors import ConfigError, ModelError, MotetError
from motet.file_names import ADAPTER_CONFIG
from motet.server.app import ROUTES, Route, create_app
from motet.server.http.body import MAX_BODY_BYTES
from motet.server.http.config import ServerConfig
from motet.server.http.errors import ANSWERS, body_of, row_of
from motet.server.openai.convert import convert
from tests.server.scripted import ScriptedCore, a_config, an_info, connect, dies, says, serving
from tests.server.test_body import HOSTILE

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(model_dir: Path, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Of a server that knows an agent, and that adapters may be loaded into: there is one in the
    directory `new`.
    """
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ADAPTER_CONFIG).write_text("{}")
    core = ScriptedCore(says(100), an_info(model_dir))
    core.adapters.agents.known[AgentKey("", "someone")] = AgentStatus("someone")
    places = AdapterPlaces(allowed=(str(tmp_path.resolve()),))
    async with serving(core, places=places) as app, connect(app) as client:
        yield client


def check_error(answer: httpx.Response, status: int) -> Any:
    """The error, which has all four fields and nothing else beside it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    return body["error"]


def an_url(route: Route) -> str:
    """Of something that is there."""
    names = {"{model:path}": "base", "{name:path}": "tuned", "{agent:path}": "someone"}
    return reduce(lambda path, name: path.replace(name, names[name]), names, route.path)


def a_body(route: Route, directory: Path) -> dict[str, Any]:
    """All that some route needs; `directory` has an adapter."""
    wish: dict[str, Any] = {"model": "base", "prompt": "a", "tokens": [5], "ttl_s": 5}
    if "lora" in route.path:
        name = "tuned" if "unload" in route.path else "new"
        return wish | {"lora_name": name, "lora_path": str(directory)}
    if "chat" in route.path:
        return wish | {"messages": [{"role": "user", "content": "a"}]}
    if "event" in route.path:
        return {"agent": "someone", "event": "tool_end"}
    return wish | {"id": "someone", "distances": {"someone": 5}}


EACH_ROUTE = pytest.mark.parametrize("route", ROUTES, ids=lambda r: f"{r.method} {r.path}")


@EACH_ROUTE
async def test_every_route_answers_with_a_request_id(
    client: httpx.AsyncClient, route: Route, tmp_path: Path
) -> None:
    body = a_body(route, tmp_path / "new") if route.body else None
    headers = {"X-Request-Id": "mine-1"}
    answer = await client.request(route.method, an_url(route), json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-request-id"] == "mine-1"


@EACH_ROUTE
async def test_every_route_refuses_other_methods(client: httpx.AsyncClient, route: Route) -> None:
    error = check_error(await client.put(an_url(route)), 405)
    assert error["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/health", "GET, HEAD"),
        ("/openapi.json", "GET, HEAD"),
        ("/v1/agents", "GET, HEAD, POST"),
        ("/v1/agents/a/b", "DELETE, GET, HEAD, PATCH"),
        ("/v1/agents/a/warm", "POST"),
    ],
)
async def test_the_methods_of_a_path_are_told(
    client: httpx.AsyncClient, path: str, methods: str
) -> None:
    assert (await client.put(path)).headers["allow"] == methods


async def test_an_unknown_path_is_a_nested_404(client: httpx.AsyncClient) -> None:
    assert check_error(await client.get("/v1/nothing"), 404)["code"] == "unknown_url"


@pytest.mark.parametrize("path", ["/health/", "/v1/completions/", "/v1/models/"])
async def test_a_trailing_slash_is_another_path(client: httpx.AsyncClient, path: str) -> None:
    check_error(await client.get(path), 404)


@EACH_ROUTE
async def test_what_can_be_read_has_a_head(client: httpx.AsyncClient, route: Route) -> None:
    if route.path.startswith("/v1/agents/"):  # what follows can be the name of an agent
        return
    answer = await client.head(an_url(route))
    is_read = any((r.method, r.path) == ("GET", route.path) for r in ROUTES)
    assert answer.status_code == (200 if is_read else 405)


async def test_a_request_id_that_could_break_a_log_is_replaced(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health", headers={"X-Request-Id": "a b"})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_bodies_are_refused(client: httpx.AsyncClient, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    check_error(await client.post("/v1/completions", content=body, headers=headers), 400)


@pytest.mark.parametrize("body", [b'{"n": true}', b'{"max_tokens": "7"}', b'{"model": "\\u0000"}'])
async def test_wrong_types_are_refused(client: httpx.AsyncClient, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    check_error(await client.post("/v1/completions", content=body, headers=headers), 400)


async def test_a_model_name_of_control_characters_is_just_unknown(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/v1/completions", json={"model": "ba\0\nse", "prompt": "a"})
    assert r"'ba\x00\nse' does not exist" in check_error(answer, 404)["message"]


async def test_a_long_model_name_is_not_repeated_in_full(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/v1/models/{'m' * 5000}")
    assert len(check_error(answer, 404)["message"]) < 200


async def test_a_body_that_is_not_declared_json_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/completions", data={"model": "base"})
    assert "Content-Type: application/json" in check_error(answer, 400)["message"]


async def test_a_declared_large_body_is_refused_unread(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/v1/completions",
        content=b" ",
        headers={"Content-Type": "application/json", "Content-Length": str(MAX_BODY_BYTES + 1)},
    )
    assert check_error(answer, 413)["code"] == "body_too_large"


async def test_a_large_body_without_length_is_refused(client: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b" " * (MAX_BODY_BYTES // 4)

    headers = {"Content-Type": "application/json"}
    check_error(await client.post("/v1/completions", content=pieces(), headers=headers), 413)


async def test_a_bug_of_ours_tells_nothing(model_dir: Path) -> None:
    core = ScriptedCore(says(100), an_info(model_dir))
    async with serving(core) as app, connect(app) as client:
        app.state.service.metrics.meter = None  # calling it raises TypeError
        answer = await client.post("/v1/completions", json={"model": "base", "prompt": "a"})
    error = check_error(answer, 500)
    assert error["code"] == "internal_error"
    assert "None" not in error["message"]


async def test_models_lists_the_base_model_first(client: httpx.AsyncClient) -> None:
    base, tuned = (await client.get("/v1/models")).json()["data"]
    assert (base["id"], base["parent"], base["max_model_len"]) == ("base", None, 128)
    assert (tuned["id"], tuned["parent"], tuned["root"]) == ("tuned", "base", "adapters/tuned")
    assert tuned["adapter"]["digest"] == "0123456789abcdef"
    assert (await client.get("/v1/models/tuned")).json() == tuned
    assert check_error(await client.get("/v1/models/a/b"), 404)["code"] == "model_not_found"


async def test_the_version_is_motet_s(client: httpx.AsyncClient) -> None:
    assert (await client.get("/version")).json() == {"version": motet.__version__}


async def test_no_page_loads_anything_from_elsewhere(client: httpx.AsyncClient) -> None:
    for path in ("/docs", "/redoc"):
        check_error(await client.get(path), 404)


async def test_the_openapi_document_resolves(client: httpx.AsyncClient) -> None:
    answer = await client.get("/openapi.json")
    schemas = answer.json()["components"]["schemas"]
    references = re.findall(r'"#/components/schemas/(\w+)"', answer.text)
    assert {"CompletionRequest", "CompletionResponse", "ErrorResponse"} <= set(references)
    assert set(references) <= set(schemas)
    model = answer.json()["paths"]["/v1/models/{model}"]["get"]
    assert [parameter["name"] for parameter in model["parameters"]] == ["model"]


async def test_while_loading_only_health_answers(model_dir: Path) -> None:
    may_load = threading.Event()

    def build() -> EngineCore:
        may_load.wait(10)
        return cast(EngineCore, ScriptedCore(says(100), an_info(model_dir)))

    app = create_app(Engine(build), a_config())
    async with app.router.lifespan_context(app), connect(app) as client:
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/metrics")).status_code == 200
        for path in ("/ready", "/v1/models"):
            assert "loading" in check_error(await client.get(path), 503)["message"]
        may_load.set()
        await app.state.service.ready()
        assert (await client.get("/ready")).status_code == 200


async def test_what_loading_raises_is_told_to_the_operator(model_dir: Path) -> None:
    def build() -> EngineCore:
        raise ModelError("/secret/path is no model")

    app = create_app(Engine(build), a_config())
    async with app.router.lifespan_context(app), connect(app) as client:
        with pytest.raises(ModelError, match="is no model"):
            await app.state.service.ready()
        assert "secret" not in check_error(await client.get("/ready"), 503)["message"]


async def test_an_adapter_may_not_have_the_name_of_the_base_model(model_dir: Path) -> None:
    info = an_info(model_dir, adapters=(Adapter("base", "d", 1, 8, 2),))
    with pytest.raises(ConfigError, match="--served-model-name"):
        async with serving(ScriptedCore(says(100), info)):
            pass


def test_the_base_model_is_named_after_its_directory(tmp_path: Path) -> None:
    assert ServerConfig().model_name(str(tmp_path), ()) == tmp_path.name


def test_a_directory_that_requests_cannot_name_needs_another_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--served-model-name.* is 'a\\nb'"):
        ServerConfig().model_name(str(tmp_path / "a\nb"), ())


def test_every_name_that_is_served_can_be_requested() -> None:
    name = "n" * MAX_NAME_LENGTH
    assert ServerConfig(served_model_name=name)
    assert convert({"model": name, "prompt": "p"}, CompletionRequest).model == name


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 65536},
        {"port": -1},
        {"served_model_name": ""},
        {"served_model_name": "a\nb"},
        {"served_model_name": "\udcff"},
        {"served_model_name": "n" * (MAX_NAME_LENGTH + 1)},
        {"generation_config": "vllm"},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="--"):
        ServerConfig(**wrong)


def all_errors() -> list[type[MotetError]]:
    found = [MotetError]
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", all_errors())
def test_every_error_has_an_answer(kind: type[MotetError]) -> None:
    error = kind("told")
    row = row_of(error)
    assert isinstance(body_of(error), ErrorResponse)
    is_for_clients = any(issubclass(kind, listed) for listed in ANSWERS)
    assert (body_of(error).error.message == "told") == is_for_clients
    assert (row.status == 500) == (not is_for_clients)


async def test_a_server_whose_engine_has_failed_is_not_healthy(model_dir: Path) -> None:
    core = ScriptedCore(dies, an_info(model_dir))
    async with serving(core) as app, connect(app) as client:
        assert (await client.get("/health")).status_code == 200
        await client.post("/v1/completions", json={"prompt": "a"})
        for path in ("/health", "/ready"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")


async def test_an_idle_engine_is_seen_before_its_first_step(client: httpx.AsyncClient) -> None:
    series = (await client.get("/metrics")).text.splitlines()
    assert 'motet_pages{owner="kv"} 7.0' in series
