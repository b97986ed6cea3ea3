"""Who may change what is served to others."""

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from motet.errors import ConfigError
from motet.server.app import ROUTES
from motet.server.http.config import ServerConfig
from tests.server.scripted import ScriptedCore, an_info, connect, says, serving

pytestmark = pytest.mark.anyio

USER, ADMIN = "user-secret", "admin-secret"
CONTROLS = [route.path.replace("{name:path}", "tuned") for route in ROUTES if route.is_control]
OPEN = ServerConfig(served_model_name="base")
ONLY_USER = replace(OPEN, api_key=(USER,))
ONLY_ADMIN = replace(OPEN, admin_api_key=(ADMIN,))
BOTH = replace(ONLY_USER, admin_api_key=(ADMIN, "another-admin"))


@pytest.fixture
def core(model_dir: Path) -> ScriptedCore:
    return ScriptedCore(says(100), an_info(model_dir))


async def outcome(client: httpx.AsyncClient, path: str, headers: dict[str, str]) -> str:
    """`done` for what is let through, whatever comes of it; else status and code."""
    answer = await client.post(path, json={"lora_name": "x", "lora_path": "/x"}, headers=headers)
    code = answer.json()["error"]["code"] if answer.is_error else ""
    is_refused = code in ("invalid_api_key", "admin_key_required", "origin_not_allowed")
    return f"{answer.status_code} {code}" if is_refused else "done"


def test_all_that_changes_what_is_served_is_controlled() -> None:
    assert CONTROLS == [
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "/load_lora_adapter",
        "/unload_lora_adapter",
        "/v1/adapters/tuned/pin",
        "/v1/adapters/tuned/unpin",
        "/reset_prefix_cache",
    ]


@pytest.mark.parametrize("path", CONTROLS)
@pytest.mark.parametrize(
    ("host", "keys", "key", "expected"),
    [
        ("127.0.0.1", OPEN, None, "done"),
        ("::1", OPEN, None, "done"),
        ("localhost", OPEN, None, "done"),
        ("127.0.0.1", ONLY_USER, USER, "done"),
        ("127.0.0.1", ONLY_USER, None, "401 invalid_api_key"),
        ("0.0.0.0", OPEN, None, "403 admin_key_required"),
        ("::", OPEN, None, "403 admin_key_required"),
        ("some-host", OPEN, None, "403 admin_key_required"),
        ("0.0.0.0", ONLY_USER, USER, "403 admin_key_required"),
        ("0.0.0.0", ONLY_ADMIN, ADMIN, "done"),
        ("127.0.0.1", ONLY_ADMIN, None, "401 invalid_api_key"),
        ("127.0.0.1", ONLY_ADMIN, "wrong", "403 admin_key_required"),
        ("0.0.0.0", BOTH, USER, "403 admin_key_required"),
        ("0.0.0.0", BOTH, ADMIN, "done"),
        ("0.0.0.0", BOTH, "another-admin", "done"),
        ("0.0.0.0", BOTH, "wrong", "401 invalid_api_key"),
        ("0.0.0.0", BOTH, None, "401 invalid_api_key"),
    ],
)
async def test_who_may_do_it(
    core: ScriptedCore,
    path: str,
    host: str,
    keys: ServerConfig,
    key: str | None,
    expected: str,
) -> None:
    async with serving(core, replace(keys, host=host)) as app, connect(app) as client:
        for header in ("X-Api-Key", "Authorization"):
            scheme = "Bearer " if header == "Authorization" else ""
            headers = {header: scheme + key} if key else {}
            assert await outcome(client, path, headers) == expected
    assert expected == "done" or not core.adapters.commands


async def test_what_only_shows_needs_no_admin(core: ScriptedCore) -> None:
    async with serving(core, replace(BOTH, host="0.0.0.0")) as app, connect(app) as client:
        for path in ("/v1/adapters", "/v1/memory", "/v1/models", "/metrics"):
            assert (await client.get(path)).status_code == 401
            for key in (USER, ADMIN):
                assert (await client.get(path, headers={"X-Api-Key": key})).status_code == 200


async def test_without_an_admin_key_the_remedy_is_named(core: ScriptedCore) -> None:
    async with serving(core, replace(OPEN, host="0.0.0.0")) as app, connect(app) as client:
        assert "--admin-api-key" in (await client.post("/reset_prefix_cache")).text


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, "done"),
        ("http://localhost:3000", "done"),
        ("https://app.example", "done"),
        ("https://evil.example", "403 origin_not_allowed"),
        ("http://localhost.evil.example", "403 origin_not_allowed"),
        ("null", "403 origin_not_allowed"),
    ],
)
@pytest.mark.parametrize("path", CONTROLS)
async def test_a_page_in_a_browser_of_this_machine_is_not_its_operator(
    core: ScriptedCore, path: str, origin: str | None, expected: str
) -> None:
    config = replace(OPEN, allowed_origin=("https://app.example", "*"))
    async with serving(core, config) as app, connect(app) as client:
        assert await outcome(client, path, {"Origin": origin} if origin else {}) == expected


def test_a_key_that_no_header_can_carry_is_refused_unshown() -> None:
    with pytest.raises(ConfigError, match=r"--admin-api-key number 2 ") as refused:
        ServerConfig(admin_api_key=("good", "two words"))
    assert "two words" not in str(refused.value)
    assert ADMIN not in repr(ServerConfig(admin_api_key=(ADMIN,)))
