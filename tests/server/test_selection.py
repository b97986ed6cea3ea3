"""Which adapter a request means, by each name it may give."""

import random
from typing import Any

import httpx
import pytest

from motet.client.protocol import CompletionRequest
from motet.engine import Adapter, AdapterMirror, AdapterNews, Standing
from motet.errors import ModelNotFound, RequestError
from motet.server.text.selection import MAX_SHOWN_CHARS, Names, Spellings, UnknownAdapter
from tests.server.scripted import ScriptedCore, an_info, connect, says, serving

ADAPTERS = [Adapter(name, f"digest of {name}", 1, 8, 2) for name in ("tuned", "org/other")]
NAMES = Names("base", AdapterMirror(ADAPTERS))


def select(names: Names = NAMES, **fields: Any) -> str | None:
    adapter = names.select(CompletionRequest(prompt="p", **fields))
    return adapter.name if adapter else None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"model": ""}, None),
        ({"model": "base"}, None),
        ({"model": "base:"}, None),
        ({"model": "base", "lora_path": None}, None),
        ({"model": "tuned"}, "tuned"),
        ({"model": "base:tuned"}, "tuned"),
        ({"model": "org/other"}, "org/other"),
        ({"model": "base:org/other"}, "org/other"),
        ({"lora_path": "tuned"}, "tuned"),
        ({"model": "base", "lora_path": "tuned"}, "tuned"),
        ({"model": "base:", "adapter_id": "tuned"}, "tuned"),
        ({"model": "tuned", "adapter_id": "tuned"}, "tuned"),
        ({"model": "base:tuned", "lora_path": "tuned", "adapter_id": "tuned"}, "tuned"),
    ],
)
def test_every_way_to_name_an_adapter_selects_it(
    fields: dict[str, Any], expected: str | None
) -> None:
    assert select(**fields) == expected


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": "tuned", "lora_path": "org/other"}, "lora_path"),
        ({"model": "base:tuned", "adapter_id": "org/other"}, "adapter_id"),
        ({"model": "base", "lora_path": "tuned", "adapter_id": "org/other"}, "adapter_id"),
    ],
)
def test_names_that_disagree_are_refused_with_both(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError, match="give only one") as refused:
        select(**fields)
    assert type(refused.value) is RequestError
    assert refused.value.param == param
    assert "tuned'" in str(refused.value) and "'org/other'" in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": "nobody"}, "model"),
        ({"model": "base:nobody"}, "model"),
        ({"model": "base:base"}, "model"),
        ({"model": "other:tuned"}, "model"),
        ({"model": "Base"}, "model"),
        ({"lora_path": "nobody"}, "lora_path"),
        ({"adapter_id": ""}, "adapter_id"),
        ({"adapter_id": "base"}, "adapter_id"),
        ({"lora_path": "adapters/../tuned"}, "lora_path"),
        ({"model": "nobody", "lora_path": "tuned"}, "model"),
    ],
)
def test_an_unknown_name_is_never_the_base_model(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ModelNotFound) as unknown:
        select(**fields)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", param)


@pytest.mark.parametrize("fields", [{"model": "base:tuned"}, {"lora_path": "tuned"}])
def test_without_adapters_an_adapter_is_refused_as_lora_not_enabled(
    fields: dict[str, Any],
) -> None:
    with pytest.raises(ModelNotFound, match="LoRA is not enabled"):
        select(Names("base", AdapterMirror()), **fields)


@pytest.mark.parametrize("given", ["tunde", "base:tunde", "tuned2", "Tuned"])
def test_a_misspelt_name_is_told_what_it_may_have_meant(given: str) -> None:
    with pytest.raises(ModelNotFound, match="did you mean 'tuned'") as unknown:
        select(model=given)
    assert repr(given) in str(unknown.value)


def test_among_thousands_of_names_the_slip_is_found_wherever_it_is() -> None:
    names = [f"customer-{number:05}-support" for number in range(10_000)]
    spellings = Spellings(names)
    for slip in ("kustomer-04321-support", "customer-04321-suport", "customer-04321"):
        assert "customer-04321-support" in spellings.near(slip), slip


def test_without_adapters_there_may_be_some_later() -> None:
    names = Names("base", AdapterMirror(), is_lora_enabled=True)
    with pytest.raises(UnknownAdapter) as unknown:
        select(names, model="base:tuned")
    assert unknown.value.name == "tuned"


def test_names_follow_the_adapters_that_come_and_go() -> None:
    mirror = AdapterMirror(ADAPTERS)
    names = Names("base", mirror)
    new = Adapter("turned", None, 3, 0, 0)
    with pytest.raises(ModelNotFound, match="did you mean 'tuned'"):
        select(names, model="turned")
    mirror.update([AdapterNews(new, Standing.CURRENT)])
    assert select(names, model="base:turned") == "turned"
    mirror.update([AdapterNews(ADAPTERS[0], Standing.LEAVING)])
    with pytest.raises(ModelNotFound, match="did you mean 'turned'"):
        select(names, model="tuned")


def test_spellings_are_the_same_however_they_came_about() -> None:
    dice = random.Random(1)
    names = {f"voice-{number}" for number in range(2000)}
    followed = Spellings(names)
    for _ in range(20):
        names = names ^ {f"voice-{dice.randrange(3000)}" for _ in range(dice.choice((3, 400)))}
        followed.follow(set(names))
        anew = Spellings(names)
        for name in ("voice-17", "vice-1717", "voice-299x"):
            assert followed.near(name) == anew.near(name)


def test_what_is_proposed_stays_short() -> None:
    names = [f"{'n' * MAX_SHOWN_CHARS}{number}" for number in range(9)]
    adapters = [Adapter(name, name, 1, 8, 2) for name in [*names, *(n[-70:] for n in names)]]
    with pytest.raises(ModelNotFound) as unknown:
        select(Names("base", AdapterMirror(adapters)), model="n" * 1024)
    assert "did you mean" in str(unknown.value)
    assert len(str(unknown.value)) < 5 * MAX_SHOWN_CHARS


@pytest.mark.anyio
async def test_a_card_is_found_by_each_name_of_its_model(model_dir: Any) -> None:
    core = ScriptedCore(says(100), an_info(model_dir))
    async with serving(core) as app, connect(app) as client:
        found = {
            path: (await client.get(f"/v1/models/{path}")).json()["id"]
            for path in ("base", "base:", "tuned", "base:tuned")
        }
    assert found == {"base": "base", "base:": "base", "tuned": "tuned", "base:tuned": "tuned"}


@pytest.mark.anyio
async def test_an_alias_in_the_body_runs_its_adapter(model_dir: Any) -> None:
    core = ScriptedCore(says(100), an_info(model_dir))
    async with serving(core) as app, connect(app) as client:
        answer: httpx.Response = await client.post(
            "/v1/completions", json={"model": "base", "prompt": [5], "lora_path": "tuned"}
        )
    assert answer.status_code == 200, answer.text
    assert answer.json()["system_fingerprint"] == "tuned@01234567"
    assert [request.adapter and request.adapter.name for request in core.requests] == ["tuned"]
