"""The counts that dashboards rely on."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from motet.engine import (
    Adapter,
    EngineStats,
    FinishReason,
    Request,
    SamplingParams,
    TokenOutput,
    Unfinished,
)
from motet.errors import ConfigError
from motet.server.http.config import ServerConfig
from motet.server.http.metric_aliases import MAX_LISTED_ADAPTERS, listed
from motet.server.http.metrics import (
    COUNTERS,
    GAUGES,
    KEYED_COUNTERS,
    LABELLED_COUNTERS,
    LABELLED_GAUGES,
    MOVED,
)
from tests.server.scripted import (
    LETTER_A,
    ScriptedCore,
    an_info,
    an_output,
    babbles,
    connect,
    fails,
    serving,
)

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


async def test_a_simulated_link_is_called_so(model_dir: Path) -> None:
    core = ScriptedCore(babbles, an_info(model_dir, link_gbps=8.0))
    async with serving(core) as app, connect(app) as client:
        assert (await read(client))["motet_simulated_link_gbps"] == 8
        assert (await client.get("/v1/memory")).json()["simulated_link_gbps"] == 8


async def test_the_engine_s_counts_are_shown(model_dir: Path) -> None:
    core = ScriptedCore(babbles, an_info(model_dir))
    async with serving(core) as app, connect(app) as client:
        await client.post("/v1/completions", json=HELLO)
        seen = await read(client)
    assert seen["motet_pages[kv]"] == 7
    assert seen["motet_page_bytes"] == 4096
    assert "motet_simulated_link_gbps" not in seen
    assert {f"motet_pages[{owner}]" for owner in ("free", "adapter", "transfer")} <= set(seen)
    assert {f"motet_page_evictions_total[{owner}]" for owner in ("kv", "adapter")} <= set(seen)
    for name in ("preemptions", "adapter_loads", "prefix_hit_tokens"):
        assert f"motet_{name}_total" in seen
    for name in ("running", "waiting"):
        assert f"motet_requests_{name}" in seen


def test_every_count_of_the_engine_that_users_read_is_somewhere() -> None:
    rows = (*LABELLED_GAUGES, *LABELLED_COUNTERS, MOVED)
    shown = {
        field.lstrip("-") for row in rows for fields in row.series.values() for field in fields
    }
    shown |= {field for _, _, field in (*GAUGES, *COUNTERS)}
    shown |= {keyed.field for keyed in KEYED_COUNTERS}
    assert shown | {"host_pages"} == set(EngineStats.__struct_fields__)  # which is their sum


def test_moved_pages_are_told_apart_and_add_up() -> None:
    stats = EngineStats(loaded_pages=10, restored_kv_pages=3, written_back_kv_pages=4, read_pages=5)
    moved = dict(MOVED.values(stats))
    assert moved == {
        ("disk", "host", "adapter"): 5,
        ("host", "device", "adapter"): 7,
        ("host", "device", "kv"): 3,
        ("device", "host", "kv"): 4,
    }


def test_who_does_not_find_an_adapter_on_a_tier_looks_on_the_next() -> None:
    [lookups] = [row for row in LABELLED_COUNTERS if row.name == "motet_adapter_lookups"]
    stats = EngineStats(adapter_hits_device=1, adapter_hits_host=2, adapter_hits_disk=4)
    assert dict(lookups.values(stats)) == {("device",): 7, ("host",): 6, ("disk",): 4}


async def test_ten_thousand_adapters_do_not_make_it_long(model_dir: Path) -> None:
    adapters = tuple(Adapter(f"a{number}", None, 1, 0, 0) for number in range(10_000))
    core = ScriptedCore(babbles, an_info(model_dir, adapters=adapters))
    async with serving(core) as app, connect(app) as client:
        seen = await read(client)
        assert seen["motet_adapters[current]"] == 10_000
        assert len((await client.get("/metrics")).content) < 200_000


async def test_a_refused_request_counts_no_tokens(model_dir: Path) -> None:
    core = ScriptedCore(fails(FinishReason.REFUSED, "too large"), an_info(model_dir))
    async with serving(core) as app, connect(app) as client:
        await client.post("/v1/completions", json=HELLO)
        seen = await read(client)
    assert seen["motet_requests_total[refused]"] == 1
    assert seen["motet_prompt_tokens_total"] == 0


# What dashboards, load testers and routers look for. Times that vLLM takes in its scheduler (queue,
# prefill, inference) are not there: nothing here measures them yet.
SUCCESSES = ("stop", "length", "abort")
VLLM_COUNTERS = {
    "prefix_cache_queries": 0,
    "prefix_cache_hits": 0,
    "prompt_tokens": 30,
    "generation_tokens": 100,
    "num_preemptions": 0,
}
VLLM_GAUGES = {"num_requests_running": 0, "num_requests_waiting": 0, "kv_cache_usage_perc": 0.07}
VLLM_HISTOGRAMS = {
    "iteration_tokens_total": (100, 130),
    "time_to_first_token_seconds": (10, None),
    "inter_token_latency_seconds": (90, None),
    "e2e_request_latency_seconds": (10, None),
    "request_decode_time_seconds": (10, None),
    "request_prompt_tokens": (10, 30),
    "request_generation_tokens": (10, 100),
}


async def test_ten_requests_of_ten_tokens_read_the_same_under_vllm_s_names(
    model_dir: Path,
) -> None:
    core = ScriptedCore(babbles, an_info(model_dir))
    async with serving(core) as app, connect(app) as client:
        for _ in range(10):
            await client.post("/v1/completions", json=HELLO | {"max_tokens": 10})
        seen = await read(client)
    counts = {f"{name}_total": value for name, value in VLLM_COUNTERS.items()} | VLLM_GAUGES
    assert {name: seen[f"vllm:{name}[base]"] for name in counts} == counts
    for name, (count, total) in VLLM_HISTOGRAMS.items():
        assert seen[f"vllm:{name}_count[base]"] == count, name
        assert total is None or seen[f"vllm:{name}_sum[base]"] == total, name
        assert seen[f"vllm:{name}_bucket[+Inf][base]"] == count, name
    assert seen["vllm:iteration_tokens_total_bucket[1.0][base]"] == 90
    assert seen["vllm:iteration_tokens_total_bucket[4.0][base]"] == 100
    ends = {reason: seen[f"vllm:request_success_total[{reason}][base]"] for reason in SUCCESSES}
    assert ends == {"stop": 0, "length": 10, "abort": 0}
    assert not any("request_success_total[error]" in name for name in seen)


async def test_what_requests_ask_for_is_counted(model_dir: Path) -> None:
    async with serving(ScriptedCore(babbles, an_info(model_dir))) as app, connect(app) as client:
        app.state.service.metrics.params(n=3, max_tokens=10)
        app.state.service.metrics.params(n=1, max_tokens=None)
        seen = await read(client)
    assert seen["vllm:request_params_n_sum[base]"] == 4
    assert seen["vllm:request_params_max_tokens_count[base]"] == 1


async def test_the_pool_is_described_as_vllm_s_cache(model_dir: Path) -> None:
    async with serving(ScriptedCore(babbles, an_info(model_dir))) as app, connect(app) as client:
        text = (await client.get("/metrics")).text
    [family] = [f for f in text_string_to_metric_families(text) if "cache_config" in f.name]
    assert family.samples[0].labels == {
        "model_name": "base",
        "block_size": "16",
        "num_gpu_blocks": "100",
        "kv_cache_size_tokens": "1600",
        "kv_cache_max_concurrency": "12.50",
    }
    assert family.samples[0].value == 1


async def lora_labels(client: httpx.AsyncClient) -> dict[str, str]:
    """Of the only series."""
    text = (await client.get("/metrics")).text
    [family] = [
        f for f in text_string_to_metric_families(text) if f.name.endswith("lora_requests_info")
    ]
    [sample] = family.samples
    assert sample.value > 1e9  # seconds since the epoch
    return sample.labels


async def test_adapters_in_use_are_one_series_that_follows_them(model_dir: Path) -> None:
    may_go_on = threading.Event()

    def waits(request: Request) -> Iterator[TokenOutput]:
        yield an_output(request, 0, LETTER_A)
        may_go_on.wait(10)
        yield an_output(request, 1, LETTER_A, FinishReason.LENGTH)

    core = ScriptedCore(waits, an_info(model_dir))
    async with serving(core) as app, connect(app) as client:
        idle = await lora_labels(client)
        assert (idle["max_lora"], idle["running_lora_adapters"]) == ("4", "")
        wish = HELLO | {"model": "tuned"}
        first = asyncio.create_task(client.post("/v1/completions", json=wish))
        while (seen := await lora_labels(client))["running_lora_adapters"] != "tuned":
            await asyncio.sleep(0.005)
        assert seen["waiting_lora_adapters"] == ""
        second = asyncio.create_task(client.post("/v1/completions", json=wish))
        while (await lora_labels(client))["waiting_lora_adapters"] != "tuned":
            await asyncio.sleep(0.005)
        may_go_on.set()
        await asyncio.gather(first, second)
        assert await lora_labels(client) == idle


def test_a_label_lists_no_more_adapters_than_are_read() -> None:
    adapters = [Adapter(f"a{number}", "d", 1, 8, 2) for number in range(1000)]
    unfinished = [
        Unfinished(Request(adapter.name, (1,), SamplingParams(1), adapter), asyncio.Queue())
        for adapter in adapters
    ]
    label = listed(unfinished, has_begun=False)
    assert label.split(",") == [
        f"a{number}" for number in range(999, 999 - MAX_LISTED_ADAPTERS, -1)
    ]


async def test_aliases_can_be_left_out(model_dir: Path) -> None:
    config = ServerConfig(served_model_name="base", metrics_aliases="none")
    core = ScriptedCore(babbles, an_info(model_dir))
    async with serving(core, config) as app, connect(app) as client:
        assert "vllm:" not in (await client.get("/metrics")).text


def test_other_aliases_are_unknown() -> None:
    with pytest.raises(ConfigError, match="--metrics-aliases is 'sglang': it must be none or vllm"):
        ServerConfig(metrics_aliases="sglang")


async def test_two_servers_count_apart(model_dir: Path) -> None:
    first, second = (ScriptedCore(babbles, an_info(model_dir)) for _ in range(2))
    async with serving(first) as app, serving(second) as other, connect(app) as client:
        await client.post("/v1/completions", json=HELLO)
        async with connect(other) as other_client:
            assert (await read(other_client))["motet_generation_tokens_total"] == 0


def test_what_is_counted_by_key_has_a_series_for_each() -> None:
    stats = EngineStats(
        evictions={"device/kv/superseded": 4, "host/adapter/unknown": 2},
        prefetches={"push": 7},
        forecasts={"hint/steps": 3},
        forecast_errors={"hint/steps": 1.5},
    )
    rows = {table.name: dict(table.values(stats)) for table in KEYED_COUNTERS}
    assert rows == {
        "motet_evictions_by_distance": {
            ("device", "kv", "superseded"): 4,
            ("host", "adapter", "unknown"): 2,
        },
        "motet_prefetches": {("push",): 7},
        "motet_forecasts": {("hint", "steps"): 3},
        "motet_forecast_error": {("hint", "steps"): 1.5},
    }
