"""Contract 2.2 and 2.3: adapters side by side, whose answers depend on nobody else."""

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from transformers import LlamaForCausalLM

from motet.engine.core import EngineCore
from motet.engine.plan import Batch, StepResult
from motet.memory.copy import Transfers
from tests.adapter_factory import ADAPTER_KINDS, save_adapter
from tests.contract.contract_server import (
    Api,
    Models,
    Surface,
    both_surfaces,
    error_in,
    serving,
    until,
)

NAMES = ("tiny", "legal", "medical")
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 24, "return_token_ids": True}
OWNERS = ("kv", "adapter")


def a_prompt(seed: int, num_tokens: int = 64) -> list[int]:
    """Of which no other test has cached anything."""
    return random.Random(seed).choices(range(3, 320), k=num_tokens)


def tokens(api: Api, **fields: Any) -> list[int]:
    [choice] = api.ask(**GREEDY | fields)["choices"]
    ids: list[int] = choice["token_ids"]
    return ids


def num_cached(api: Api, **fields: Any) -> int:
    count: int = api.ask(**fields)["usage"]["prompt_tokens_details"]["cached_tokens"]
    return count


def test_2_2_13_more_adapters_than_fit_are_all_answered_by_themselves(
    models: Models, tmp_path: Path
) -> None:
    model = LlamaForCausalLM.from_pretrained(models.base)
    kind = ADAPTER_KINDS["rank-64"]
    many = {f"big-{i}": save_adapter(model, tmp_path / f"big-{i}", kind, i) for i in range(6)}
    crowd = replace(models, adapters=many)
    wishes = [{"model": name, "prompt": a_prompt(1, 20)} for name in many]
    with serving(crowd) as api:
        alone = [tokens(api, **wish) for wish in wishes]
    assert len(set(map(tuple, alone))) == len(many)
    with (
        serving(crowd, pool_bytes=1_600_000, max_model_len=64) as api,
        ThreadPoolExecutor(6) as pool,
    ):
        for _ in range(3):
            assert list(pool.map(lambda wish: tokens(api, **wish), wishes)) == alone
        assert api.metric('motet_page_evictions_total{owner="adapter"}') > 0


@both_surfaces
@pytest.mark.parametrize("field", ["model", "lora_path", "adapter_id"])
@pytest.mark.parametrize("name", ["../legal", "/etc/passwd", "./legal", "legal/../legal", "~"])
def test_2_2_15_a_name_is_never_a_path(api: Api, surface: Surface, field: str, name: str) -> None:
    assert api.refusal(surface, 404, **{field: name})["code"] == "model_not_found"


def test_2_2_15_a_path_of_an_adapter_is_not_its_name(api: Api, models: Models) -> None:
    path = str(models.adapters["legal"])
    assert api.refusal(status=404, lora_path=path)["code"] == "model_not_found"


@pytest.mark.parametrize("name", NAMES)
def test_2_3_1_greedy_tokens_do_not_depend_on_the_neighbours(api: Api, name: str) -> None:
    wish = {"model": name, "prompt": a_prompt(2), "cache_salt": name}
    alone = tokens(api, **wish)
    neighbours = [{"model": NAMES[i % 3], "prompt": a_prompt(10 + i, 9 + i)} for i in range(12)]
    with ThreadPoolExecutor(16) as pool:
        crowd = [*neighbours[:6], wish, *neighbours[6:], wish | {"cache_salt": "other"}]
        together = list(pool.map(lambda one: tokens(api, **one), crowd))
    assert together[6] == together[-1] == alone
    assert together[:6] + together[7:-1] == [tokens(api, **one) for one in neighbours]


@pytest.mark.parametrize("first", NAMES)
def test_2_3_2_a_prompt_is_never_shared_between_adapters(api: Api, first: str) -> None:
    prompt = a_prompt(3 + NAMES.index(first))
    others = [name for name in NAMES if name != first]
    assert num_cached(api, model=first, prompt=prompt) == 0
    assert num_cached(api, model=first, prompt=prompt) > 0
    for name in others:
        assert num_cached(api, model=name, prompt=prompt) == 0
    for name in NAMES:
        assert num_cached(api, model=name, prompt=prompt) > 0
        assert num_cached(api, model=name, prompt=prompt, cache_salt="mine") == 0


def test_2_3_2_a_cached_prefix_changes_no_token(api: Api) -> None:
    wishes = [{"model": name, "prompt": a_prompt(7)} for name in NAMES]
    fresh = [tokens(api, **wish) for wish in wishes]
    assert [tokens(api, **wish) for wish in wishes] == fresh


@both_surfaces
@pytest.mark.parametrize("stream", [False, True])
def test_2_3_3_every_answer_tells_which_generation_served_it(
    api: Api, surface: Surface, stream: bool
) -> None:
    cards = {card["id"]: card for card in api.http.get("/v1/models").json()["data"]}
    for name in NAMES:
        wish = surface.beginning | {"model": name, "max_tokens": 2, "stream": stream}
        answer = api.http.post(surface.path, json=wish)
        adapter = cards[name].get("adapter")
        generation = f"{name}@{adapter['digest'][:8]}" if adapter else name
        assert answer.headers["x-adapter-generation"] == generation
        assert f'"system_fingerprint":"{generation}"' in answer.text


async def come_and_go(url: str, wish: dict[str, Any], after: int) -> None:
    """Read so many pieces of a stream, then hang up."""
    async with (
        httpx.AsyncClient(base_url=url, timeout=60) as http,
        http.stream("POST", "/v1/completions", json=wish | {"stream": True}) as answer,
    ):
        pieces = answer.aiter_bytes()
        for _ in range(after):
            await anext(pieces)


def check_no_page_is_in_use(api: Api) -> None:
    """Everything has ended, and what pages hold is kept for reuse only."""
    until(lambda: api.metric("motet_requests_running") == 0)
    until(lambda: api.metric("motet_requests_waiting") == 0)
    for owner in OWNERS:
        held = api.metric(f'motet_pages{{owner="{owner}"}}')
        assert api.metric(f'motet_idle_pages{{owner="{owner}"}}') == held
    for owner in ("transfer", "quarantined"):
        assert api.metric(f'motet_pages{{owner="{owner}"}}') == 0


def num_pages(api: Api) -> float:
    owners = (*OWNERS, "free", "transfer", "quarantined")
    return sum(api.metric(f'motet_pages{{owner="{owner}"}}') for owner in owners)


def test_2_3_4_aborts_in_every_phase_leave_no_page_in_use(models: Models) -> None:
    dice = random.Random(0)
    with serving(models, pool_bytes=2**20, max_model_len=512) as api:  # many have to wait
        assert len(tokens(api)) == 24
        total = num_pages(api)

        async def storm() -> None:
            wishes = [
                {"model": NAMES[i % 3], "prompt": a_prompt(i, dice.randint(1, 99)), "n": 1 + i % 2}
                for i in range(24)
            ]
            wish = {"max_tokens": 200, "ignore_eos": True}
            url = str(api.http.base_url)
            await asyncio.gather(
                *(come_and_go(url, one | wish, dice.randrange(20)) for one in wishes)
            )

        asyncio.run(storm())
        check_no_page_is_in_use(api)
        assert num_pages(api) == total
        assert len(tokens(api, model="legal", ignore_eos=True)) == 24


def test_2_3_5_metrics_do_not_grow_with_the_number_of_adapters(models: Models) -> None:
    num_series = []
    for count in (1, 500):
        crowd = {f"tenant-{i}": models.adapters["medical"] for i in range(count)}
        with serving(replace(models, adapters=crowd)) as api:
            assert len(api.http.get("/v1/models").json()["data"]) == 1 + count
            assert tokens(api, model=f"tenant-{count - 1}") == tokens(api, model="tenant-0")
            num_series.append(len(api.http.get("/metrics").text.splitlines()))
    assert num_series[0] == num_series[1]


class Breaks:
    """An executor that fails at its third step."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self._num_steps = 0

    def begin(self, transfers: Transfers) -> None:
        self._executor.begin(transfers)

    def execute(self, batch: Batch) -> StepResult:
        self._num_steps += 1
        if self._num_steps == 3:
            raise RuntimeError("the device is gone, and /secret/path with it")
        result: StepResult = self._executor.execute(batch)
        return result


def broken(core: EngineCore) -> EngineCore:
    return replace(core, executor=Breaks(core.executor))


@both_surfaces
def test_2_3_6_when_the_engine_dies_clients_are_told_so(models: Models, surface: Surface) -> None:
    with serving(models, change=broken) as api:
        error = api.refusal(surface, 503, max_tokens=9, ignore_eos=True)
        assert error["type"] == "server_error"
        assert "secret" not in error["message"]
        for answer in (api.http.get("/ready"), api.http.get("/v1/models")):
            assert error_in(answer, 503)["type"] == "server_error"
            assert answer.headers["retry-after"]
        assert api.refusal(surface, 503)["message"]


@both_surfaces
def test_2_8_3_an_error_in_a_stream_ends_it_without_done(models: Models, surface: Surface) -> None:
    with serving(models, change=broken) as api:
        *chunks, last = api.events(surface, max_tokens=9, return_token_ids=True)
    assert chunks
    assert last.startswith('{"error":{"message":')
    assert "secret" not in last
