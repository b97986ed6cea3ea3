"""Contract 2.6 to 2.8: routes, keys, clients that leave, and where other promises pull apart."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from shutil import copytree
from typing import Any

import httpx
import pytest

from tests.contract.contract_server import (
    CHAT,
    Api,
    Models,
    Surface,
    both_surfaces,
    error_in,
    serving,
    until,
)

KEYS = ("first-key", "second-key")
PUBLIC = ("/health", "/ready")
GUARDED = ("/v1/models", "/v1/models/tiny", "/metrics", "/version", "/openapi.json", "/nowhere")


@pytest.fixture(scope="module")
def guarded(models: Models) -> Iterator[Api]:
    with serving(models, api_key=KEYS) as api:
        yield api


@pytest.mark.parametrize("path", ["/version", "/health", "/ready", "/metrics"])
def test_2_6_1_the_server_tells_about_itself(api: Api, path: str) -> None:
    assert api.http.get(path).status_code == 200


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer no"}, {"X-Api-Key": "no"}])
@pytest.mark.parametrize("path", [*GUARDED, "/v1/completions", "/v1/chat/completions"])
def test_2_6_2_without_a_good_key_nothing_is_answered(
    guarded: Api, path: str, headers: dict[str, str], method: str, slash: str
) -> None:
    error = error_in(guarded.http.request(method, path + slash, headers=headers), 401)
    assert error["type"] == "authentication_error"


@both_surfaces
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("header", ["Authorization", "X-Api-Key"])
def test_2_6_2_each_key_works_in_each_header(
    guarded: Api, surface: Surface, key: str, header: str
) -> None:
    headers = {header: f"Bearer {key}" if header == "Authorization" else key}
    body = surface.beginning | {"max_tokens": 1}
    assert guarded.http.post(surface.path, json=body, headers=headers).status_code == 200


@pytest.mark.parametrize("path", PUBLIC)
def test_2_8_9_probes_need_no_key(guarded: Api, path: str) -> None:
    assert guarded.http.get(path).status_code == 200


def test_2_6_2_a_true_preflight_is_answered(guarded: Api) -> None:
    headers = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    assert guarded.http.options("/v1/completions", headers=headers).status_code == 200


def test_2_6_3_after_a_storm_of_leaving_clients_the_next_one_is_answered(api: Api) -> None:
    async def leave(client: httpx.AsyncClient, stream: bool) -> None:
        wish = {"prompt": [5, 6], "max_tokens": 10_000, "ignore_eos": True, "stream": stream}
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await client.post("/v1/completions", json=wish)

    async def storm() -> None:
        limits = httpx.Limits(max_connections=200)
        url = str(api.http.base_url)
        async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
            await asyncio.gather(*(leave(client, bool(number % 2)) for number in range(200)))

    asyncio.run(storm())
    assert api.ask(max_tokens=3, ignore_eos=True)["usage"]["completion_tokens"] == 3


def test_2_7_1_ten_requests_of_ten_tokens_are_counted_exactly(models: Models) -> None:
    with serving(models) as api:
        for _ in range(10):
            api.ask(prompt=[5] * 6, max_tokens=10, ignore_eos=True)
        assert api.metric("motet_time_to_first_token_seconds_count") == 10
        assert api.metric("motet_inter_token_latency_seconds_count") == 90
        assert api.metric("motet_prompt_tokens_total") == 60
        assert api.metric("motet_generation_tokens_total") == 100
        assert api.metric('motet_requests_total{finish_reason="length"}') == 10


def test_2_7_2_when_all_work_is_cancelled_nothing_runs_waits_or_holds_pages(api: Api) -> None:
    with pytest.raises(httpx.ReadTimeout):
        wish = {"prompt": [5], "n": 9, "max_tokens": 10_000, "ignore_eos": True}
        api.http.post("/v1/completions", json=wish, timeout=0.3)
    until(lambda: api.metric("motet_requests_running") == 0)
    assert api.metric("motet_requests_waiting") == 0
    assert api.metric('motet_pages{owner="kv"}') == api.metric('motet_idle_pages{owner="kv"}')


@both_surfaces
def test_2_8_4_a_misspelt_adapter_gets_the_nearest_name(api: Api, surface: Surface) -> None:
    assert "'legal'" in api.refusal(surface, 404, model="legl")["message"]


def test_2_8_5_the_chat_template_of_an_adapter_is_used_for_it_alone(
    models: Models, tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = copytree(models.adapters["legal"], tmp_path_factory.mktemp("own") / "legal")
    (own / "chat_template.jinja").write_text("obey me")
    with serving(replace(models, adapters={"legal": own})) as api:
        prompts = [
            api.ask(CHAT, model=name, max_tokens=1, return_token_ids=True)["prompt_token_ids"]
            for name in ("tiny", "legal")
        ]
        read = api.http.post("/detokenize", json={"tokens": prompts[1]}).json()
    assert read["prompt"] == "obey me"
    assert prompts[0] != prompts[1]


def test_2_8_6_only_switches_of_the_template_may_be_set(api: Api) -> None:
    def num_prompt_tokens(**fields: Any) -> int:
        count: int = api.ask(CHAT, max_tokens=1, **fields)["usage"]["prompt_tokens"]
        return count

    loud = num_prompt_tokens(chat_template_kwargs={"is_loud": True})
    assert loud > num_prompt_tokens()
    for name in ("messages", "bos_token", "no_such_switch"):
        error = api.refusal(CHAT, chat_template_kwargs={name: "x"})
        assert error["param"] == "chat_template_kwargs"


def test_2_8_7_a_path_selects_no_adapter(api: Api, models: Models) -> None:
    for field in ("lora_path", "adapter_id"):
        wish: dict[str, Any] = {field: str(models.adapters["legal"])}
        assert api.refusal(status=404, **wish)["code"] == "model_not_found"


def test_2_8_10_a_slash_belongs_to_the_name_and_is_no_path(models: Models) -> None:
    with serving(models, served_model_name="org/tiny") as api:
        assert api.ask(model="org/tiny:legal", max_tokens=1)["model"] == "org/tiny:legal"
        assert api.refusal(status=404, model="org/../org/tiny")["code"] == "model_not_found"
