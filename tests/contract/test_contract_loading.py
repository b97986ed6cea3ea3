"""Contract 2.2: load, reload and unload while the server runs."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import load_file, save_file

from motet.adapter_places import AdapterPlaces
from motet.file_names import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from tests.contract.contract_server import Api, Json, Models, error_in, serving, until

PROMPT: dict[str, Any] = {
    "prompt": [5, 6, 7],
    "max_tokens": 8,
    "temperature": 0,
    "ignore_eos": True,
}
VLLM, SGLANG = "/v1/load_lora_adapter", "/load_lora_adapter"
LOADS = pytest.mark.parametrize("path", [VLLM, SGLANG])


@pytest.fixture(scope="module")
def shelf(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where adapters may be loaded from: `legal` and `medical`."""
    shelf = tmp_path_factory.mktemp("shelf").resolve()
    for name, path in models.adapters.items():
        copytree(path, shelf / name)
    return shelf


@pytest.fixture(scope="module")
def empty(models: Models, shelf: Path) -> Iterator[Api]:
    """A server that starts without adapters."""
    with serving(replace(models, adapters={}), places=AdapterPlaces(allowed=(str(shelf),))) as api:
        yield api


@pytest.fixture
def name(empty: Api, request: pytest.FixtureRequest) -> Iterator[str]:
    """Of nobody, before the test and after it."""
    name = f"{request.node.name}"[:100].replace(":", "-").replace("/", "-")
    yield name
    unload(empty, name)


def load(api: Api, name: str, where: Path, path: str = VLLM, **fields: Any) -> httpx.Response:
    body = {"lora_name": name, "lora_path": str(where)} | fields
    return api.http.post(path, json=body)


def unload(api: Api, name: str, path: str = "/v1/unload_lora_adapter") -> httpx.Response:
    return api.http.post(path, json={"lora_name": name})


def names(api: Api) -> list[str]:
    return [card["id"] for card in api.http.get("/v1/models").json()["data"]]


def tokens(api: Api, model: str) -> Json:
    """What it says, and which weights say it."""
    answer = api.ask(model=model, return_token_ids=True, **PROMPT)
    [choice] = answer["choices"]
    return {"ids": choice["token_ids"], "by": answer["system_fingerprint"]}


def test_2_2_1_what_is_loaded_answers_as_if_it_had_been_there(
    empty: Api, models: Models, shelf: Path, name: str
) -> None:
    loaded = load(empty, name, shelf / "legal")
    assert (loaded.status_code, loaded.text) == (
        200,
        f"Success: LoRA adapter '{name}' added successfully.",
    )
    with serving(models) as api:
        expected = tokens(api, "legal")
    said = tokens(empty, name)
    assert said["ids"] == expected["ids"] != tokens(empty, "tiny")["ids"]
    assert said["by"].partition("@")[2] == expected["by"].partition("@")[2]
    [_, card] = empty.http.get("/v1/models").json()["data"]
    assert (card["id"], card["parent"], card["root"]) == (name, "tiny", str(shelf / "legal"))


def test_2_2_2_what_is_unloaded_is_gone(empty: Api, shelf: Path, name: str) -> None:
    load(empty, name, shelf / "legal")
    unloaded = unload(empty, name)
    assert (unloaded.status_code, unloaded.text) == (
        200,
        f"Success: LoRA adapter '{name}' removed successfully.",
    )
    assert names(empty) == ["tiny"]
    assert empty.refusal(status=404, model=name)["code"] == "model_not_found"


def test_2_2_3_the_other_form_answers_with_what_is_loaded(
    empty: Api, shelf: Path, name: str
) -> None:
    answer = load(empty, name, shelf / "medical", SGLANG, pinned=True).json()
    assert answer == {"success": True, "loaded_adapters": {name: str(shelf / "medical")}}
    answer = unload(empty, name, "/unload_lora_adapter").json()
    assert answer == {"success": True, "loaded_adapters": {}}


@LOADS
@pytest.mark.parametrize("missing", ["lora_name", "lora_path"])
def test_2_2_4_name_and_path_are_needed(empty: Api, path: str, missing: str) -> None:
    body = {"lora_name": "x", "lora_path": "x"}
    del body[missing]
    assert missing in error_in(empty.http.post(path, json=body), 400)["message"]


@LOADS
def test_2_2_5_a_name_is_loaded_once(empty: Api, shelf: Path, name: str, path: str) -> None:
    load(empty, name, shelf / "legal")
    before = tokens(empty, name)
    error = error_in(load(empty, name, shelf / "medical", path), 400)
    assert error["code"] == "adapter_already_loaded"
    assert ("already been loaded" if path == VLLM else "already loaded") in error["message"]
    assert tokens(empty, name) == before


def test_2_2_6_a_reload_in_place_is_for_new_requests_alone(
    empty: Api, shelf: Path, name: str
) -> None:
    load(empty, name, shelf / "medical")
    medical = tokens(empty, name)
    load(empty, name, shelf / "legal", load_inplace=True)
    legal = tokens(empty, name)
    wish = PROMPT | {"model": name, "stream": True, "max_tokens": 3000}
    with empty.http.stream("POST", "/v1/completions", json=wish) as running:
        events = running.iter_lines()
        assert next(events).startswith("data: ")
        assert load(empty, name, shelf / "medical", load_inplace=True).status_code == 200
        generation = empty.http.get(f"/v1/models/{name}").json()["adapter"]["generation"]
        assert names(empty) == ["tiny", name, f"{name}@{generation - 1}"]
        assert tokens(empty, name) == medical
        chunks = [json.loads(e.removeprefix("data: ")) for e in events if e.startswith("data: {")]
        assert {chunk["system_fingerprint"] for chunk in chunks} == {legal["by"]}
    until(lambda: names(empty) == ["tiny", name])


def test_2_2_7_a_path_that_is_not_there_is_404(empty: Api, shelf: Path) -> None:
    error = error_in(load(empty, "x", shelf / "nobody"), 404)
    assert (error["code"], error["param"]) == ("adapter_path_not_found", "lora_path")


def _no_json(path: Path) -> None:
    (path / ADAPTER_CONFIG).write_text("{")


def _no_weights(path: Path) -> None:
    (path / ADAPTER_WEIGHTS).unlink()


def _half_a_download(path: Path) -> None:
    whole = (path / ADAPTER_WEIGHTS).read_bytes()
    (path / ADAPTER_WEIGHTS).write_bytes(whole[: len(whole) // 2])


def _no_template(path: Path) -> None:
    (path / "chat_template.jinja").write_text("{% for %}")


def _change(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    def first_tensor(path: Path) -> None:
        tensors = load_file(path / ADAPTER_WEIGHTS)
        name = min(tensors)
        save_file(tensors | {name: change(tensors[name])}, path / ADAPTER_WEIGHTS)

    return first_tensor


def _set(**fields: Any) -> Callable[[Path], None]:
    def config(path: Path) -> None:
        known = json.loads((path / ADAPTER_CONFIG).read_text())
        (path / ADAPTER_CONFIG).write_text(json.dumps(known | fields))

    return config


INVALID: dict[str, tuple[Callable[[Path], None], str]] = {
    "no JSON": (_no_json, "adapter_config.json"),
    "no weights": (_no_weights, "adapter_model.safetensors"),
    "half a download": (_half_a_download, "adapter_model.safetensors"),
    "wrong shape": (_change(lambda tensor: tensor[:, :-1].contiguous()), "shape"),
    "not a number": (_change(lambda tensor: tensor * float("nan")), "lora_A"),
    "infinite": (_change(lambda tensor: tensor / 0.0), "lora_A"),
    "no chat template": (_no_template, "template"),
}
UNSUPPORTED: dict[str, tuple[Callable[[Path], None], str]] = {
    "another method": (_set(peft_type="IA3"), "peft_type"),
    "rank 0": (_set(r=0), "r in adapter_config.json is 0"),
    "unknown start": (_set(init_lora_weights="new"), "init_lora_weights"),
}


def _refused(api: Api, shelf: Path, tmp_path: Path, change: Callable[[Path], None]) -> str:
    """Loads a changed adapter from the shelf; why it is refused."""
    bad = copytree(shelf / "legal", shelf / tmp_path.name)
    change(bad)
    for path in (VLLM, SGLANG):
        error = error_in(load(api, "bad", bad, path), 400)
        assert error["code"] == "adapter_incompatible"
    assert "bad" not in names(api)
    message: str = error["message"]
    return message


@pytest.mark.parametrize("case", INVALID)
def test_2_2_8_invalid_files_are_400_with_the_cause(
    empty: Api, shelf: Path, tmp_path: Path, case: str
) -> None:
    change, expected = INVALID[case]
    assert expected in _refused(empty, shelf, tmp_path, change)


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_2_2_9_what_is_not_supported_is_400_with_the_field(
    empty: Api, shelf: Path, tmp_path: Path, case: str
) -> None:
    change, expected = UNSUPPORTED[case]
    assert expected in _refused(empty, shelf, tmp_path, change)


@pytest.mark.parametrize("path", ["/v1/unload_lora_adapter", "/unload_lora_adapter"])
def test_2_2_10_what_was_never_loaded_cannot_be_unloaded(empty: Api, path: str) -> None:
    error = error_in(unload(empty, "nobody", path), 404)
    assert error["code"] == "adapter_not_loaded"
    assert path.startswith("/v1") or "never been loaded" in error["message"]


def test_2_2_11_after_an_unload_there_is_nothing_to_unload_until_it_is_loaded(
    empty: Api, shelf: Path, name: str
) -> None:
    load(empty, name, shelf / "legal")
    first = empty.http.get(f"/v1/models/{name}").json()["adapter"]
    assert unload(empty, name).status_code == 200
    assert error_in(unload(empty, name), 404)["code"] == "adapter_not_loaded"
    load(empty, name, shelf / "legal")
    second = empty.http.get(f"/v1/models/{name}").json()["adapter"]
    assert second["digest"] == first["digest"]
    assert second["generation"] > first["generation"]


def test_2_2_12_a_pinned_adapter_stays_on_the_device_until_it_is_unloaded(
    empty: Api, shelf: Path, name: str
) -> None:
    def state() -> Json:
        [found] = [s for s in empty.http.get("/v1/adapters").json()["data"] if s["name"] == name]
        assert isinstance(found, dict)
        return found

    load(empty, name, shelf / "legal", pinned=True)
    tokens(empty, name)
    assert (state()["pinned"], state()["tier"]) == (True, "device")
    assert empty.http.post(f"/v1/adapters/{name}/unpin").status_code == 200
    assert not state()["pinned"]
    assert empty.http.post(f"/v1/adapters/{name}/pin").status_code == 200
    assert unload(empty, name).status_code == 200


def test_2_2_14_failing_loads_disturb_nobody(
    empty: Api, shelf: Path, name: str, tmp_path: Path
) -> None:
    bad = copytree(shelf / "legal", shelf / tmp_path.name)
    _half_a_download(bad)
    load(empty, name, shelf / "legal")
    alone = tokens(empty, name)
    with ThreadPoolExecutor(8) as pool:
        failing = [pool.submit(load, empty, f"bad-{number}", bad) for number in range(12)]
        good = [pool.submit(tokens, empty, name) for _ in range(12)]
        assert [one.result().status_code for one in failing] == [400] * 12
        assert [one.result() for one in good] == [alone] * 12
    assert names(empty) == ["tiny", name]


@LOADS
@pytest.mark.parametrize("bad", ["../legal", "/legal", "a//b", ".", "tiny", "a:b", ""])
def test_2_2_15_a_name_that_looks_like_a_path_is_not_loaded(
    empty: Api, shelf: Path, path: str, bad: str
) -> None:
    assert error_in(load(empty, bad, shelf / "legal", path), 400)["param"] == "lora_name"


@LOADS
def test_2_2_15_nothing_is_loaded_from_elsewhere(
    empty: Api, models: Models, shelf: Path, tmp_path: Path, path: str
) -> None:
    link = shelf / f"{tmp_path.name}-link"
    link.symlink_to(models.adapters["legal"])
    for where in (models.adapters["legal"], shelf / ".." / "legal", link, Path("/etc")):
        error = error_in(load(empty, "x", where, path), 403)
        assert (error["code"], error["param"]) == ("path_not_allowed", "lora_path")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", VLLM),
        ("POST", SGLANG),
        ("POST", "/v1/unload_lora_adapter"),
        ("POST", "/unload_lora_adapter"),
        ("POST", "/v1/adapters/legal/pin"),
        ("POST", "/v1/adapters/legal/unpin"),
        ("POST", "/reset_prefix_cache"),
    ],
)
def test_2_2_16_only_an_admin_changes_what_is_served(
    kept: Api, shelf: Path, method: str, path: str
) -> None:
    body = {"lora_name": "new", "lora_path": str(shelf / "legal")}
    refused = kept.http.request(method, path, json=body, headers={"X-Api-Key": "user"})
    assert error_in(refused, 403)["code"] == "admin_key_required"
    assert error_in(kept.http.request(method, path, json=body), 401)["code"] == "invalid_api_key"


def test_2_2_16_an_admin_loads_and_all_use_it(kept: Api, shelf: Path) -> None:
    body = {"lora_name": "new", "lora_path": str(shelf / "legal")}
    loaded = kept.http.post(VLLM, json=body, headers={"X-Api-Key": "admin"})
    assert loaded.status_code == 200, loaded.text
    wish = PROMPT | {"model": "new"}
    answer = kept.http.post("/v1/completions", json=wish, headers={"X-Api-Key": "user"})
    assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def kept(models: Models, shelf: Path) -> Iterator[Api]:
    """A server with keys, and one for admins."""
    places = AdapterPlaces(allowed=(str(shelf),))
    with serving(models, places=places, api_key=("user",), admin_api_key=("admin",)) as api:
        yield api


@LOADS
def test_2_8_1_an_invalid_file_is_400_on_both_paths(
    empty: Api, shelf: Path, tmp_path: Path, path: str
) -> None:
    bad = copytree(shelf / "legal", shelf / f"{tmp_path.name}-bad")
    _no_weights(bad)
    assert error_in(load(empty, "bad", bad, path), 400)["code"] == "adapter_incompatible"


@LOADS
def test_2_8_2_a_second_load_is_400_on_both_paths(
    empty: Api, shelf: Path, name: str, path: str
) -> None:
    assert load(empty, name, shelf / "legal", path).status_code == 200
    again = error_in(load(empty, name, shelf / "legal", path), 400)
    assert again["code"] == "adapter_already_loaded"
