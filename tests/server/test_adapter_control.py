"""Adapters that come and go over HTTP: what is answered, and what is asked of the engine."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from motet.adapter_places import AdapterPlaces
from motet.engine import Adapter, FinishReason
from motet.engine.messages import ListAdapters, RegisterAdapter, ResetPrefixCache
from motet.errors import AdapterError
from motet.file_names import ADAPTER_CONFIG
from tests.server.scripted import (
    ScriptedCore,
    an_end,
    an_info,
    babbles,
    connect,
    rushes,
    says,
    serving,
    until,
)

pytestmark = pytest.mark.anyio

HELLO = {"prompt": [5]}
BAD_NAMES = ("", None, 1, "base", "a:b", "../x", "/x", "a//b", ".", "a\n", "x" * 513)


def make(path: Path, content: str = "{}") -> Path:
    path.mkdir(parents=True)
    (path / ADAPTER_CONFIG).write_text(content)
    return path


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """The --adapter-dir, with two adapters that nobody has named yet."""
    shelf = tmp_path / "shelf"
    make(shelf / "first")
    make(shelf / "second", '{"r": 2}')
    return shelf


@pytest.fixture
def places(shelf: Path, tmp_path: Path) -> AdapterPlaces:
    make(tmp_path / "allowed" / "more", '{"r": 3}')
    make(tmp_path / "elsewhere" / "secret")
    return AdapterPlaces(str(shelf), (str(tmp_path / "allowed"),))


@pytest.fixture
def core(model_dir: Path) -> ScriptedCore:
    """With the adapter `tuned`, which has been read."""
    return ScriptedCore(says(100), an_info(model_dir))


@pytest.fixture
async def client(core: ScriptedCore, places: AdapterPlaces) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(core, places=places) as app, connect(app) as client:
        yield client


async def load(client: httpx.AsyncClient, name: str, path: object, **fields: Any) -> httpx.Response:
    body = {"lora_name": name, "lora_path": str(path)} | fields
    return await client.post("/v1/load_lora_adapter", json=body)


async def unload(client: httpx.AsyncClient, name: str) -> httpx.Response:
    return await client.post("/v1/unload_lora_adapter", json={"lora_name": name})


async def ask(client: httpx.AsyncClient, model: str, **fields: Any) -> httpx.Response:
    return await client.post("/v1/completions", json=HELLO | {"model": model} | fields)


async def names(client: httpx.AsyncClient) -> list[str]:
    return [card["id"] for card in (await client.get("/v1/models")).json()["data"]]


def error_of(answer: httpx.Response, status: int) -> tuple[str, str | None]:
    """Code and field."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    return error["code"], error["param"]


async def test_an_adapter_is_found_when_it_is_first_named(
    client: httpx.AsyncClient, core: ScriptedCore, shelf: Path
) -> None:
    assert await names(client) == ["base", "tuned"]
    for name in ("first", "base:second", "second"):
        assert (await ask(client, name)).status_code == 200
    make(shelf / "third")
    assert (await ask(client, "base", lora_path="third")).status_code == 200
    assert await names(client) == ["base", "tuned", "first", "second", "third"]
    registered = [c.adapter for c in core.adapters.commands if isinstance(c, RegisterAdapter)]
    assert [(a.name, a.digest, a.path) for a in registered] == [
        (name, None, str(shelf / name)) for name in ("first", "second", "third")
    ]


async def test_all_who_name_a_new_adapter_at_once_get_the_same(
    client: httpx.AsyncClient, core: ScriptedCore
) -> None:
    answers = await asyncio.gather(*(ask(client, "first") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["system_fingerprint"] for answer in answers}) == 1
    assert len(core.adapters.commands) == 1


@pytest.mark.parametrize(
    "name",
    [
        *("nobody", "", "..", ".", "../elsewhere/secret", "first/", "./first", "first\0"),
        *("x" * 500, "/etc", "stray", "foreign", "base:../shelf/first"),
    ],
)
@pytest.mark.parametrize("field", ["model", "lora_path"])
async def test_what_is_not_an_adapter_of_the_directory_is_not_found(
    client: httpx.AsyncClient, core: ScriptedCore, shelf: Path, name: str, field: str
) -> None:
    secret = shelf.parent / "elsewhere" / "secret"
    (shelf / "stray").symlink_to(secret)
    make(shelf / "foreign")
    (shelf / "foreign" / "adapter_model.safetensors").symlink_to(secret / ADAPTER_CONFIG)
    if (field, name) == ("model", ""):
        return  # the base model
    answer = await client.post("/v1/completions", json=HELLO | {field: name})
    assert error_of(answer, 404) == ("model_not_found", field)
    assert not core.adapters.commands


async def test_what_leads_out_after_it_was_found_is_not_read(
    model_dir: Path, places: AdapterPlaces, shelf: Path
) -> None:
    unread = Adapter("first", None, 1, 0, 0, str(shelf / "first"))
    core = ScriptedCore(says(100), an_info(model_dir, adapters=(unread,)))
    secret = shelf.parent / "elsewhere" / "secret"
    (shelf / "first" / "tokenizer_config.json").symlink_to(secret / ADAPTER_CONFIG)
    async with serving(core, places=places) as app, connect(app) as client:
        answer = await ask(client, "first")
        assert error_of(answer, 400) == ("adapter_incompatible", None)
        assert "leads out" in answer.json()["error"]["message"]
        (shelf / "first" / "tokenizer_config.json").unlink()
        assert (await ask(client, "first")).status_code == 200  # it is looked at again
    assert len(core.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_the_digest_of_what_is_read_later_is_in_every_answer(
    client: httpx.AsyncClient, stream: bool
) -> None:
    answer = await ask(client, "first", stream=stream)
    card = (await client.get("/v1/models/first")).json()
    expected = f"first@{card['adapter']['digest'][:8]}"
    assert answer.headers["x-adapter-generation"] == expected
    assert f'"system_fingerprint":"{expected}"' in answer.text


async def test_what_is_not_read_yet_is_listed_as_unknown(
    model_dir: Path, places: AdapterPlaces, shelf: Path
) -> None:
    unread = Adapter("first", None, 1, 0, 0, str(shelf / "first"))
    core = ScriptedCore(says(100), an_info(model_dir, adapters=(unread,)))
    async with serving(core, places=places) as app, connect(app) as client:
        card = (await client.get("/v1/models/first")).json()["adapter"]
        assert card == {"digest": None, "generation": 1, "max_rank": None, "num_pages": None}
        [state] = (await client.get("/v1/adapters")).json()["data"]
        assert (state["tier"], state["rank"], state["pages"]) == ("disk", None, None)
        await ask(client, "first")
        known = (await client.get("/v1/models/first")).json()["adapter"]
    assert (known["generation"], known["max_rank"], len(known["digest"])) == (1, 8, 64)


@pytest.mark.parametrize("kind", ["AdapterError", "AdapterChanged", "ModelNotFound"])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_adapter_that_cannot_be_read_ends_its_requests_with_the_reason(
    model_dir: Path, stream: bool, kind: str
) -> None:
    def ends(request: Any) -> Any:
        yield an_end(request, FinishReason.ERROR, "adapter 'x': it is no more", kind)

    async with serving(ScriptedCore(ends, an_info(model_dir))) as app, connect(app) as client:
        answer = await ask(client, "tuned", stream=stream)
    code, _ = error_of(answer, 404 if kind == "ModelNotFound" else 400)
    codes = {"AdapterError": "adapter_incompatible", "AdapterChanged": "adapter_changed"}
    assert code == codes.get(kind, "model_not_found")
    assert "it is no more" in answer.text


async def test_a_loaded_adapter_serves_until_it_is_unloaded(
    client: httpx.AsyncClient, places: AdapterPlaces
) -> None:
    path = Path(places.allowed[0]) / "more"
    loaded = await load(client, "new", path)
    assert (loaded.status_code, loaded.text) == (
        200,
        "Success: LoRA adapter 'new' added successfully.",
    )
    assert loaded.headers["content-type"].startswith("text/plain")
    assert (await ask(client, "new")).status_code == 200
    assert (await client.get("/v1/models/new")).json()["root"] == str(path)
    unloaded = await unload(client, "new")
    assert unloaded.text == "Success: LoRA adapter 'new' removed successfully."
    assert error_of(await ask(client, "new"), 404) == ("model_not_found", "model")
    assert "new" not in await names(client)
    assert error_of(await unload(client, "new"), 404) == ("adapter_not_loaded", "lora_name")
    assert (await load(client, "new", path)).status_code == 200
    assert (await client.get("/v1/models/new")).json()["adapter"]["generation"] == 3


async def test_what_was_unloaded_is_found_again_only_when_it_is_loaded(
    client: httpx.AsyncClient, shelf: Path
) -> None:
    assert (await ask(client, "first")).status_code == 200
    assert (await unload(client, "first")).status_code == 200
    assert error_of(await ask(client, "first"), 404) == ("model_not_found", "model")
    assert (await load(client, "first", "first")).status_code == 200  # counts from the directory
    assert (await ask(client, "first")).status_code == 200


async def test_a_failed_unload_hides_nothing(client: httpx.AsyncClient) -> None:
    assert error_of(await unload(client, "first"), 404) == ("adapter_not_loaded", "lora_name")
    assert (await ask(client, "first")).status_code == 200


async def test_the_other_form_answers_with_all_that_is_loaded(
    client: httpx.AsyncClient, shelf: Path
) -> None:
    body = {"lora_name": "new", "lora_path": str(shelf / "first"), "pinned": True}
    answer = await client.post("/load_lora_adapter", json=body)
    expected = {"tuned": "adapters/tuned", "new": str(shelf / "first")}
    assert answer.json() == {"success": True, "loaded_adapters": expected}
    again = await client.post("/load_lora_adapter", json=body)
    assert error_of(again, 400) == ("adapter_already_loaded", "lora_name")
    assert "already loaded" in again.text
    [_, new] = (await client.get("/v1/adapters", params={"limit": 2})).json()["data"][::-1]
    assert (new["name"], new["pinned"]) == ("new", True)
    answer = await client.post("/unload_lora_adapter", json={"lora_name": "tuned"})
    assert answer.json() == {"success": True, "loaded_adapters": {"new": str(shelf / "first")}}
    unknown = await client.post("/unload_lora_adapter", json={"lora_name": "tuned"})
    assert error_of(unknown, 404) == ("adapter_not_loaded", "lora_name")
    assert "never been loaded" in unknown.text


@pytest.mark.parametrize("path", ["/v1/load_lora_adapter", "/load_lora_adapter"])
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"lora_name": "x"},
        {"lora_path": "first"},
        {"lora_name": "x", "lora_path": ""},
        {"lora_name": "x", "lora_path": "first\0"},
        *({"lora_name": name, "lora_path": "first"} for name in BAD_NAMES),
    ],
)
async def test_a_load_without_good_name_and_path_is_refused(
    client: httpx.AsyncClient, core: ScriptedCore, path: str, body: dict[str, Any]
) -> None:
    answer = await client.post(path, json=body)
    assert answer.status_code == 400, answer.text
    assert not core.adapters.commands


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("first/../nobody", 404, "adapter_path_not_found"),
        ("nobody", 404, "adapter_path_not_found"),
        ("first/adapter_config.json", 404, "adapter_path_not_found"),
        ("../elsewhere/secret", 403, "path_not_allowed"),
        ("../elsewhere/nobody", 403, "path_not_allowed"),
        ("/etc", 403, "path_not_allowed"),
        ("/no/such", 403, "path_not_allowed"),
        ("../shelf2", 403, "path_not_allowed"),
        ("stray", 403, "path_not_allowed"),
        ("foreign", 403, "path_not_allowed"),
        ("loop", 404, "adapter_path_not_found"),
        ("x" * 4000, 404, "adapter_path_not_found"),
    ],
)
async def test_a_path_must_lie_where_adapters_are_taken_from(
    client: httpx.AsyncClient, core: ScriptedCore, shelf: Path, path: str, status: int, code: str
) -> None:
    secret = shelf.parent / "elsewhere" / "secret"
    make(shelf.parent / "shelf2")
    (shelf / "stray").symlink_to(secret)
    (shelf / "loop").symlink_to(shelf / "loop")
    make(shelf / "foreign" / "folder")
    (shelf / "foreign" / "folder" / "file").symlink_to(secret / ADAPTER_CONFIG)
    assert error_of(await load(client, "new", path), status) == (code, "lora_path")
    assert not core.adapters.commands


async def test_links_that_stay_are_followed(client: httpx.AsyncClient, shelf: Path) -> None:
    (shelf / "alias").symlink_to(shelf / "first")
    (shelf / "second" / "extra").symlink_to(shelf / "first" / ADAPTER_CONFIG)
    assert (await load(client, "new", shelf / "alias")).status_code == 200
    assert (await client.get("/v1/models/new")).json()["root"] == str(shelf / "first")
    assert (await ask(client, "alias")).status_code == 200
    assert (await ask(client, "second")).status_code == 200


async def test_without_a_place_nothing_can_be_loaded(core: ScriptedCore, shelf: Path) -> None:
    async with serving(core) as app, connect(app) as client:
        refused = error_of(await load(client, "new", shelf / "first"), 403)
        assert refused == ("path_not_allowed", "lora_path")
        assert error_of(await load(client, "new", "first"), 400) == ("invalid_value", "lora_path")


async def test_a_taken_name_is_refused_unless_it_is_loaded_in_place(
    client: httpx.AsyncClient, shelf: Path
) -> None:
    again = await load(client, "tuned", shelf / "first")
    assert error_of(again, 400) == ("adapter_already_loaded", "lora_name")
    assert "already been loaded" in again.text and "load_inplace" in again.text
    assert (await load(client, "tuned", shelf / "first", load_inplace=True)).status_code == 200
    card = (await client.get("/v1/models/tuned")).json()
    assert (card["root"], card["adapter"]["generation"]) == (str(shelf / "first"), 2)


async def test_of_two_loads_of_a_name_at_once_one_is_refused(
    client: httpx.AsyncClient, core: ScriptedCore, shelf: Path
) -> None:
    core.adapters.holds_loads = True
    loading = [asyncio.create_task(load(client, "new", shelf / "first")) for _ in range(2)]
    await until(lambda: len(core.adapters.commands) == 2)
    core.adapters.holds_loads = False
    answers = await asyncio.gather(*loading)
    assert sorted(answer.status_code for answer in answers) == [200, 400]
    assert "already been loaded" in "".join(answer.text for answer in answers)


async def test_an_unload_while_the_name_is_being_loaded_finds_nothing(
    client: httpx.AsyncClient, core: ScriptedCore, shelf: Path
) -> None:
    core.adapters.holds_loads = True
    loading = asyncio.create_task(load(client, "new", shelf / "first"))
    await until(lambda: len(core.adapters.commands) == 1)
    assert error_of(await unload(client, "new"), 404) == ("adapter_not_loaded", "lora_name")
    core.adapters.holds_loads = False
    assert (await loading).status_code == 200
    assert (await unload(client, "new")).status_code == 200


@pytest.mark.parametrize("content", ["{", ""])
async def test_a_bad_adapter_is_refused_with_the_reason(
    client: httpx.AsyncClient, core: ScriptedCore, shelf: Path, content: str
) -> None:
    (shelf / "first" / ADAPTER_CONFIG).write_text(content)
    answer = await load(client, "new", "first")
    assert error_of(answer, 400) == ("adapter_incompatible", None)
    assert str(shelf / "first") in answer.text
    core.adapters.faults[str(shelf / "second")] = AdapterError("tensor 'x' has shape [1]")
    assert "tensor 'x'" in (await load(client, "new", "second")).text
    assert "new" not in await names(client)


async def test_files_for_prompts_are_looked_at_before_it_is_loaded(
    client: httpx.AsyncClient, core: ScriptedCore, shelf: Path
) -> None:
    (shelf / "first" / "chat_template.jinja").write_text("{% for %}")
    answer = await load(client, "new", "first")
    assert error_of(answer, 400) == ("adapter_incompatible", None)
    assert "template" in answer.text
    assert not core.adapters.commands


async def test_a_replaced_adapter_is_listed_until_its_last_request_has_ended(
    model_dir: Path, places: AdapterPlaces, shelf: Path
) -> None:
    core = ScriptedCore(rushes, an_info(model_dir))
    async with serving(core, places=places) as app, connect(app) as client:
        running = asyncio.create_task(ask(client, "tuned", max_tokens=100))
        await until(lambda: len(core.requests) == 1)
        assert (await load(client, "tuned", shelf / "first", load_inplace=True)).status_code == 200
        assert await names(client) == ["base", "tuned", "tuned@1"]
        old = (await client.get("/v1/models/tuned@1")).json()
        assert (old["id"], old["root"]) == ("tuned@1", "adapters/tuned")
        assert error_of(await ask(client, "tuned@1"), 404) == ("model_not_found", "model")
        states = (await client.get("/v1/adapters")).json()["data"]
        standings = [(s["generation"], s["standing"], s["running"]) for s in states]
        assert standings == [(1, "leaving", 1), (2, "current", 0)]
        core.aborted.add(core.requests[0].request_id)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_generation_that_is_gone_is_listed_nowhere(
    model_dir: Path, places: AdapterPlaces, shelf: Path
) -> None:
    core = ScriptedCore(babbles, an_info(model_dir))
    async with serving(core, places=places) as app, connect(app) as client:
        running = asyncio.create_task(ask(client, "tuned", max_tokens=100))
        await until(lambda: len(core.requests) == 1)
        assert (await unload(client, "tuned")).status_code == 200
        assert await names(client) == ["base", "tuned@1"]
        answer = await running
        assert answer.headers["x-adapter-generation"] == "tuned@01234567"
        assert await names(client) == ["base"]
        assert (await client.get("/v1/adapters")).json()["data"] == []
        assert (await client.get("/v1/models/tuned@1")).status_code == 404


async def test_a_pin_is_set_and_taken_back(client: httpx.AsyncClient, core: ScriptedCore) -> None:
    [pinned] = (await client.post("/v1/adapters/tuned/pin")).json()["data"]
    assert (pinned["name"], pinned["pinned"], pinned["generation"]) == ("tuned", True, 1)
    [free] = (await client.post("/v1/adapters/tuned/unpin")).json()["data"]
    assert not free["pinned"]
    [first] = (await client.post("/v1/adapters/first/pin")).json()["data"]  # found when named
    assert (first["name"], first["pinned"]) == ("first", True)
    for name in ("nobody", "org/nobody", ".."):
        answer = await client.post(f"/v1/adapters/{name.replace('.', '%2E')}/pin")
        assert answer.status_code in (404, 405), name
    assert error_of(await client.post("/v1/adapters/nobody/pin"), 404) == (
        "adapter_not_loaded",
        "name",
    )


async def test_adapters_are_listed_page_by_page(model_dir: Path) -> None:
    adapters = tuple(Adapter(f"a{number:03}", "d", 1, 8, 2) for number in range(25))
    core = ScriptedCore(says(100), an_info(model_dir, adapters=adapters))
    seen: list[str] = []
    async with serving(core) as app, connect(app) as client:
        after, has_more = "", True
        while has_more:
            params = {"limit": "10", "after": after}
            page = (await client.get("/v1/adapters", params=params)).json()
            assert page["object"] == "list" and 0 < len(page["data"]) <= 10
            seen += [state["name"] for state in page["data"]]
            after, has_more = seen[-1], page["has_more"]
        assert seen == [adapter.name for adapter in adapters]
        for bad in ({"limit": 0}, {"limit": 1001}, {"limit": "x"}, {"after": "x" * 513}):
            param = next(iter(bad))
            answer = await client.get("/v1/adapters", params=bad)
            assert error_of(answer, 400)[1] == param, bad


async def test_no_name_is_cut_in_two_at_the_end_of_a_page(
    model_dir: Path, places: AdapterPlaces
) -> None:
    core = ScriptedCore(rushes, an_info(model_dir))
    async with serving(core, places=places) as app, connect(app) as client:
        running = asyncio.create_task(ask(client, "tuned", max_tokens=100))
        await until(lambda: len(core.requests) == 1)
        await load(client, "tuned", "first", load_inplace=True)
        await load(client, "a", "second")
        page = (await client.get("/v1/adapters", params={"limit": 2})).json()
        assert ([s["name"] for s in page["data"]], page["has_more"]) == (["a"], True)
        rest = (await client.get("/v1/adapters", params={"limit": 2, "after": "a"})).json()
        assert ([s["generation"] for s in rest["data"]], rest["has_more"]) == ([1, 2], False)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_those_in_use_come_first_where_only_they_are_wanted(
    model_dir: Path, places: AdapterPlaces
) -> None:
    core = ScriptedCore(rushes, an_info(model_dir))
    async with serving(core, places=places) as app, connect(app) as client:
        asked = ["first", "second", "second", "base"]
        running = [asyncio.create_task(ask(client, name, max_tokens=100)) for name in asked]
        await until(lambda: len(core.requests) == 4)
        page = (await client.get("/v1/adapters", params={"in_use": "true"})).json()
        assert [(s["name"], s["running"]) for s in page["data"]] == [("second", 2), ("first", 1)]
        one = (await client.get("/v1/adapters", params={"in_use": "true", "limit": 1})).json()
        assert [s["name"] for s in one["data"]] == ["second"]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def test_pages_add_up(client: httpx.AsyncClient) -> None:
    memory = (await client.get("/v1/memory")).json()
    assert memory["page_bytes"] == 4096
    for tier in ("pages", "host"):
        pages = dict(memory[tier])
        assert pages.pop("total") == sum(pages.values())
        assert set(pages) == {"free", "kv", "adapter", "transfer", "quarantined"}
    assert memory["requests"] == {"running": 0, "waiting": 0, "waiting_for_state": 0}
    assert (memory["adapters"]["current"], memory["adapters"]["leaving"]) == (1, 0)


async def test_the_prefix_cache_is_emptied(client: httpx.AsyncClient, core: ScriptedCore) -> None:
    assert (await client.post("/reset_prefix_cache")).json() == {"status": "ok"}
    assert core.adapters.commands == [ResetPrefixCache()]


async def test_ten_thousand_models_are_listed_once_for_all_who_ask(model_dir: Path) -> None:
    adapters = tuple(
        Adapter(f"a{number:05}", None, 1, 0, 0, f"/shelf/a{number:05}") for number in range(10_000)
    )
    core = ScriptedCore(says(100), an_info(model_dir, adapters=adapters))
    async with serving(core) as app, connect(app) as client:
        first = await client.get("/v1/models")
        assert len(first.json()["data"]) == 10_001
        body = app.state.service.model_list._body
        assert (await client.get("/v1/models")).content == first.content
        assert app.state.service.model_list._body is body
        await unload(client, "a00007")
        assert len(await names(client)) == 10_000


async def test_listing_asks_for_what_it_shows_and_no_more(
    client: httpx.AsyncClient, core: ScriptedCore
) -> None:
    await client.get("/v1/adapters", params={"limit": 7, "after": "m"})
    assert core.adapters.commands == [ListAdapters("m", 8)]
