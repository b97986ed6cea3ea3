"""The counts that dashboards rely on."""

from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from motet.engine import FinishReason
from tests.server.scripted import ScriptedCore, an_info, babbles, connect, fails, serving

pytestmark = pytest.mark.anyio

HELLO = {"model": "base", "prompt": [5, 6, 7]}


async def read(client: httpx.AsyncClient) -> dict[str, float]:
    """Every sample by name and labels."""
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_ten_requests_of_ten_tokens_are_counted_exactly(model_dir: Path) -> None:
    core = ScriptedCore(babbles, an_info(model_dir))
    async with serving(core) as app, connect(app) as client:
        for _ in range(10):
            await client.post("/v1/completions", json=HELLO | {"max_tokens": 10})
        seen = await read(client)
    assert seen["motet_requests_total[length]"] == 10
    assert seen["motet_prompt_tokens_total"] == 30
    assert seen["motet_generation_tokens_total"] == 100
    assert seen["motet_time_to_first_token_seconds_count"] == 10
    assert seen["motet_inter_token_latency_seconds_count"] == 90
    assert seen["motet_e2e_request_latency_seconds_count"] == 10
    assert seen["motet_e2e_request_latency_seconds_sum"] > 0.1


async def test_the_engine_s_counts_are_shown(model_dir: Path) -> None:
    core = ScriptedCore(babbles, an_info(model_dir))
    async with serving(core) as app, connect(app) as client:
        await client.post("/v1/completions", json=HELLO)
        seen = await read(client)
    assert seen["motet_pages[kv]"] == 7
    assert seen["motet_page_bytes"] == 4096
    assert {f"motet_pages[{owner}]" for owner in ("free", "adapter", "transfer")} <= set(seen)
    assert {f"motet_page_evictions_total[{owner}]" for owner in ("kv", "adapter")} <= set(seen)
    for name in ("preemptions", "adapter_loads", "prefix_hit_tokens"):
        assert f"motet_{name}_total" in seen
    for name in ("running", "waiting"):
        assert f"motet_requests_{name}" in seen


async def test_a_refused_request_counts_no_tokens(model_dir: Path) -> None:
    core = ScriptedCore(fails(FinishReason.REFUSED, "too large"), an_info(model_dir))
    async with serving(core) as app, connect(app) as client:
        await client.post("/v1/completions", json=HELLO)
        seen = await read(client)
    assert seen["motet_requests_total[refused]"] == 1
    assert seen["motet_prompt_tokens_total"] == 0


async def test_two_servers_count_apart(model_dir: Path) -> None:
    first, second = (ScriptedCore(babbles, an_info(model_dir)) for _ in range(2))
    async with serving(first) as app, serving(second) as other, connect(app) as client:
        await client.post("/v1/completions", json=HELLO)
        async with connect(other) as other_client:
            assert (await read(other_client))["motet_generation_tokens_total"] == 0
