"""Keys on every route, and what browsers may read."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from motet.errors import ConfigError
from motet.server.app import ROUTES
from motet.server.http.config import ServerConfig
from tests.server.scripted import (
    ScriptedCore,
    a_config,
    an_info,
    connect,
    listening,
    says,
    serving,
)
from tests.server.test_connection import exchange

pytestmark = pytest.mark.anyio

KEYS = ("first-secret", "second-secret")
ORIGIN = "https://app.example"
CONFIG = ServerConfig(served_model_name="base", api_key=KEYS, allowed_origin=(ORIGIN,))
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}

PATHS = sorted({re.sub(r"{(\w+):path}", "base", route.path) for route in ROUTES})
GUARDED = [path for path in PATHS if path not in ("/health", "/ready")]
WRONG = {
    "no key": {},
    "wrong key": {"Authorization": "Bearer third-secret"},
    "beginning of a key": {"X-Api-Key": KEYS[0][:-1]},
    "both keys": {"X-Api-Key": " ".join(KEYS)},
    "another scheme": {"Authorization": f"Basic {KEYS[0]}"},
    "no scheme": {"Authorization": KEYS[0]},
    "no ASCII": {"X-Api-Key": "\u00e9"},
    "forwarded": {"X-Forwarded-For": "127.0.0.1", "X-Original-Url": "/health"},
}


@pytest.fixture
def core(model_dir: Path) -> ScriptedCore:
    return ScriptedCore(says(100), an_info(model_dir))


@pytest.fixture
async def client(core: ScriptedCore) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(core, CONFIG) as app, connect(app) as client:
        yield client


def check_refused(answer: httpx.Response) -> None:
    assert answer.status_code == 401, answer.text
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["x-request-id"]
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
    assert not any(key in answer.text for key in KEYS)


@pytest.mark.parametrize("path", [*GUARDED, "/openapi.json", "/nowhere", "/", "/health/", "/v1"])
async def test_every_path_but_the_probes_needs_a_key(client: httpx.AsyncClient, path: str) -> None:
    for method in ("GET", "POST", "HEAD", "OPTIONS", "DELETE"):
        answer = await client.request(method, path)
        assert answer.status_code == 401, (method, path)


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG.keys())
async def test_whatever_is_wrong_with_a_key_the_answer_is_the_same(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    encoded = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    answer = await client.get("/v1/models", headers=encoded)
    check_refused(answer)
    assert answer.content == (await client.get("/v1/models")).content


@pytest.mark.parametrize("key", KEYS)
async def test_each_key_opens_in_each_header(client: httpx.AsyncClient, key: str) -> None:
    for headers in ({"Authorization": f"Bearer {key}"}, {"authorization": f"bearer  {key} "}):
        assert (await client.get("/v1/models", headers=headers)).status_code == 200
    assert (await client.get("/v1/models", headers={"X-Api-Key": key})).status_code == 200
    wrong = {"Authorization": "Bearer x", "X-Api-Key": key}
    assert (await client.get("/nowhere", headers=wrong)).status_code == 404


async def test_probes_need_no_key(client: httpx.AsyncClient) -> None:
    for path in ("/health", "/ready"):
        assert (await client.get(path)).status_code == 200
        assert (await client.head(path)).status_code == 200
        check_refused(await client.post(path))


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /v1/models HTTP/1.1\r\nHost: a/health?",
        b"GET http://a/v1/models HTTP/1.1\r\nHost: a/health",
        b"GET //health/../v1/models HTTP/1.1\r\nHost: a",
        b"GET /health%00 HTTP/1.1\r\nHost: a",
        b"GET /v1/models?/health HTTP/1.1\r\nHost: a",
        b"GET /health;/v1/models HTTP/1.1\r\nHost: a",
    ],
)
async def test_no_other_part_of_a_request_opens_a_path(
    core: ScriptedCore, request_line: bytes
) -> None:
    async with listening(core, CONFIG) as url:
        answer = await exchange(url, request_line + b"\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401 ")


async def test_a_server_without_keys_asks_for_none(core: ScriptedCore) -> None:
    async with serving(core) as app, connect(app) as client:
        assert (await client.get("/v1/models")).status_code == 200


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:3000", "https://127.0.0.1"])
async def test_an_allowed_page_may_ask_first_and_read_then(
    client: httpx.AsyncClient, origin: str
) -> None:
    asked = await client.options("/v1/models", headers={"Origin": origin, **PREFLIGHT})
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == origin
    assert "x-api-key" in asked.headers["access-control-allow-headers"]
    headers = {"Origin": origin, "X-Api-Key": KEYS[0]}
    read = await client.get("/v1/models", headers=headers)
    assert (read.status_code, read.headers["access-control-allow-origin"]) == (200, origin)
    refused = await client.get("/v1/models", headers={"Origin": origin})
    check_refused(refused)
    assert refused.headers["access-control-allow-origin"] == origin  # so that it can read why


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://localhost.evil.example", f"{ORIGIN}.evil", "null", ""],
)
async def test_to_other_pages_there_is_no_preflight(client: httpx.AsyncClient, origin: str) -> None:
    asked = await client.options("/v1/models", headers={"Origin": origin, **PREFLIGHT})
    check_refused(asked)
    assert "access-control-allow-origin" not in asked.headers
    headers = {"Origin": origin, "X-Api-Key": KEYS[0]}
    answer = await client.get("/v1/models", headers=headers)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("headers", [{}, {"Origin": ORIGIN}, PREFLIGHT])
async def test_half_a_preflight_is_no_bypass(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    check_refused(await client.options("/v1/models", headers=headers))


async def test_a_preflight_for_a_method_of_no_route_is_refused_in_our_shape(
    client: httpx.AsyncClient,
) -> None:
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"}
    answer = await client.options("/v1/models", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "method_not_allowed")


async def test_a_star_lets_every_page_read(core: ScriptedCore) -> None:
    config = ServerConfig(served_model_name="base", allowed_origin=("*",))
    async with serving(core, config) as app, connect(app) as client:
        answer = await client.get("/v1/models", headers={"Origin": "https://any.example"})
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("key", ["", "two words", "\u00e9", "a\nb", "k" * 513])
def test_a_key_that_no_header_can_carry_is_refused_unshown(key: str) -> None:
    with pytest.raises(ConfigError, match=r"--api-key number 2 ") as refused:
        ServerConfig(api_key=("good", key))
    assert not key or key not in str(refused.value)


def test_keys_are_not_in_the_text_of_the_configuration() -> None:
    assert re.search("port=8000", repr(CONFIG))
    assert not any(key in repr(CONFIG) for key in KEYS)


@pytest.mark.parametrize("origin", ["example.org", "https://a/b", "", "ftp://a", "https://"])
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ConfigError, match="--allowed-origin is"):
        ServerConfig(allowed_origin=(origin,))


def test_no_key_is_the_default() -> None:
    assert a_config().api_key == ()
