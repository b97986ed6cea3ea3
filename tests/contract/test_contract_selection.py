"""Contract 2.1: the list of models, and which model a request means."""

from dataclasses import replace
from typing import Any

import pytest

from tests.contract.contract_server import (
    MAX_MODEL_LEN,
    Api,
    Models,
    Surface,
    both_surfaces,
    error_in,
    serving,
)

GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 12}

BASE = "tiny"
SPELLINGS: dict[str, list[dict[str, Any]]] = {
    "legal": [
        {"model": "legal"},
        {"model": "tiny:legal"},
        {"model": "tiny", "lora_path": "legal"},
        {"model": "tiny:", "adapter_id": "legal"},
        {"model": "legal", "lora_path": "legal", "adapter_id": "legal"},
    ],
    BASE: [
        {},
        {"model": ""},
        {"model": "tiny"},
        {"model": "tiny:"},
        {"model": "tiny", "lora_path": None},
    ],
}
"""Model -> every way to ask for it."""

DISAGREEMENTS = [
    {"model": "tiny:legal", "lora_path": "medical"},
    {"model": "legal", "adapter_id": "medical"},
    {"model": "tiny", "lora_path": "legal", "adapter_id": "medical"},
]


def generation(api: Api, surface: Surface, **fields: Any) -> str:
    """Which weights answer."""
    fingerprint: str = api.ask(surface, **fields | {"max_tokens": 1})["system_fingerprint"]
    return fingerprint


def test_2_1_1_the_list_has_the_base_model_first_then_its_adapters(
    api: Api, models: Models
) -> None:
    base, *adapters = api.http.get("/v1/models").json()["data"]
    assert (base["id"], base["root"], base["parent"]) == (BASE, str(models.base), None)
    assert [card["id"] for card in adapters] == ["legal", "medical"]
    assert [card["root"] for card in adapters] == [str(p) for p in models.adapters.values()]
    assert {card["parent"] for card in adapters} == {BASE}
    assert {card["max_model_len"] for card in (base, *adapters)} == {MAX_MODEL_LEN}


def test_2_1_1_without_adapters_the_list_is_the_base_model(models: Models) -> None:
    with serving(replace(models, adapters={})) as api:
        assert [card["id"] for card in api.http.get("/v1/models").json()["data"]] == [BASE]


@pytest.mark.parametrize("name", ["org/tiny", "org/tiny:", "org/tiny:a/legal", "a/legal"])
def test_2_1_2_a_model_is_found_by_an_id_with_slash_and_colon(models: Models, name: str) -> None:
    renamed = replace(models, adapters={"a/legal": models.adapters["legal"]})
    with serving(renamed, served_model_name="org/tiny") as api:
        answer = api.http.get(f"/v1/models/{name}")
        assert answer.status_code == 200
        expected = "a/legal" if name.endswith("legal") else "org/tiny"
        assert answer.json()["id"] == expected
        assert api.ask(model=name, max_tokens=1)["model"] == name


@pytest.mark.parametrize("name", ["nobody", "tiny:nobody", "a/b:c", "legal:", "Legal"])
def test_2_1_2_an_unknown_id_is_not_found(api: Api, name: str) -> None:
    error = error_in(api.http.get(f"/v1/models/{name}"), 404)
    assert (error["type"], error["code"]) == ("not_found_error", "model_not_found")


@both_surfaces
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["nobody", "tiny:nobody", "legal:", "tiny:tiny", "tiny-legal"])
def test_2_1_3_an_unknown_model_is_refused_and_never_the_base(
    api: Api, surface: Surface, name: str, stream: bool
) -> None:
    error = api.refusal(surface, 404, model=name, stream=stream)
    assert (error["code"], error["param"]) == ("model_not_found", "model")


@both_surfaces
@pytest.mark.parametrize("name", SPELLINGS)
def test_2_1_4_every_way_to_name_a_model_means_that_model(
    api: Api, surface: Surface, name: str
) -> None:
    meant = generation(api, surface, model=name)
    assert meant.partition("@")[0] == name
    for spelling in SPELLINGS[name]:
        assert generation(api, surface, **spelling) == meant
        chunks = api.stream(surface, **spelling, max_tokens=1)
        assert {chunk["system_fingerprint"] for chunk in chunks} == {meant}


@both_surfaces
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wish", DISAGREEMENTS)
def test_2_1_4_names_that_disagree_are_refused(
    api: Api, surface: Surface, wish: dict[str, Any], stream: bool
) -> None:
    error = api.refusal(surface, **wish, stream=stream)
    assert error["code"] == "adapter_conflict"
    assert error["param"] in ("lora_path", "adapter_id")
    assert "medical" in error["message"]


@both_surfaces
def test_2_1_4_the_base_and_each_adapter_say_something_else(api: Api, surface: Surface) -> None:
    names = [BASE, "legal", "medical"]
    assert len({api.text(surface, model=name, **GREEDY) for name in names}) == 3


@both_surfaces
@pytest.mark.parametrize("wish", [{"model": "tiny:legal"}, {"lora_path": "legal"}])
def test_2_1_5_without_adapters_the_error_says_that_lora_is_not_enabled(
    models: Models, surface: Surface, wish: dict[str, Any]
) -> None:
    with serving(replace(models, adapters={})) as api:
        error = api.refusal(surface, 404, **wish)
    assert "LoRA" in error["message"]
    assert "not enabled" in error["message"]
