"""motet's metrics under vLLM's names: what dashboards, load testers and routers look for.

Everything is derived when it is asked for, from motet's own series or from the engine.
"""

import time
from collections.abc import Collection, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from motet.engine import Engine, EngineInfo, EngineStats, EngineStatus, FinishReason, Unfinished

VLLM_NAMES = {
    "motet_requests_running": "num_requests_running",
    "motet_requests_waiting": "num_requests_waiting",
    "motet_preemptions": "num_preemptions",
    "motet_prefix_query_tokens": "prefix_cache_queries",
    "motet_prefix_hit_tokens": "prefix_cache_hits",
    "motet_prompt_tokens": "prompt_tokens",
    "motet_generation_tokens": "generation_tokens",
    "motet_iteration_tokens": "iteration_tokens_total",  # a histogram, in spite of its name
    "motet_time_to_first_token_seconds": "time_to_first_token_seconds",
    "motet_inter_token_latency_seconds": "inter_token_latency_seconds",
    "motet_e2e_request_latency_seconds": "e2e_request_latency_seconds",
    "motet_request_decode_time_seconds": "request_decode_time_seconds",
    "motet_request_prompt_tokens": "request_prompt_tokens",
    "motet_request_generation_tokens": "request_generation_tokens",
    "motet_request_params_n": "request_params_n",
    "motet_request_params_max_tokens": "request_params_max_tokens",
    "motet_requests": "request_success",
}
"""Name of a metric -> vLLM's name of the same."""

PREFIX = "vllm:"
LABELS = {"finish_reason": "finished_reason"}
FAILURES = {FinishReason.REFUSED, FinishReason.OVERFLOW, FinishReason.ERROR}
"""Ends that vLLM does not count as success."""

MAX_LISTED_ADAPTERS = 64
"""In one label; of thousands, the names alone would be a long page."""


class VllmAliases(Collector):
    """Shows what `own` has, and what only the engine knows, for one model."""

    def __init__(self, engine: Engine, own: CollectorRegistry, model_name: str) -> None:
        self._engine = engine
        self._own = own
        self._model_name = model_name

    def describe(self) -> Iterator[Metric]:
        """Names are known only when asked for: nothing is checked against them."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        for metric in self._own.collect():
            if metric.name in VLLM_NAMES:
                yield self._renamed(metric)
        if self._engine.status is EngineStatus.READY:
            info, stats = self._engine.info, self._engine.stats
            yield self._gauge("kv_cache_usage_perc", "Pages in use, 0 to 1.", _used(info, stats))
            yield self._gauge("cache_config_info", "How the pool is cut.", 1, _cut(info))
            adapters = _adapters(info, self._engine.unfinished)
            yield self._gauge("lora_requests_info", "Adapters in use.", time.time(), adapters)

    def _renamed(self, metric: Metric) -> Metric:
        name = PREFIX + VLLM_NAMES[metric.name]
        renamed = Metric(name, metric.documentation, metric.type)
        for sample in metric.samples:
            labels = {LABELS.get(label, label): value for label, value in sample.labels.items()}
            if sample.name.endswith("_created") or labels.get("finished_reason") in FAILURES:
                continue
            labels["model_name"] = self._model_name
            renamed.add_sample(name + sample.name.removeprefix(metric.name), labels, sample.value)
        return renamed

    def _gauge(
        self, name: str, help: str, value: float, labels: dict[str, str] | None = None
    ) -> Metric:
        labels = {"model_name": self._model_name, **(labels or {})}
        family = GaugeMetricFamily(PREFIX + name, help, labels=list(labels))
        family.add_metric(list(labels.values()), value)
        return family


def _used(info: EngineInfo, stats: EngineStats) -> float:
    """KV and adapters share one pool: a router that looks for room must hear of both."""
    taken = stats.pages_kv + stats.pages_adapter + stats.pages_transfer + stats.pages_quarantined
    return (taken - stats.idle_pages_kv - stats.idle_pages_adapter) / info.num_pages


def _cut(info: EngineInfo) -> dict[str, str]:
    num_tokens = info.num_pages * info.page_tokens
    return {
        "block_size": str(info.page_tokens),
        "num_gpu_blocks": str(info.num_pages),
        "kv_cache_size_tokens": str(num_tokens),
        "kv_cache_max_concurrency": f"{num_tokens / info.max_model_len:.2f}",
    }


def _adapters(info: EngineInfo, unfinished: Collection[Unfinished]) -> dict[str, str]:
    """Computed anew each time, so no series is left behind for adapters of the past."""
    return {
        "max_lora": str(info.max_batch_adapters),
        "running_lora_adapters": listed(unfinished, has_begun=True),
        "waiting_lora_adapters": listed(unfinished, has_begun=False),
    }


def listed(unfinished: Collection[Unfinished], *, has_begun: bool) -> str:
    """The adapters that were asked for last, if they are too many."""
    names = [
        item.request.adapter.name
        for item in unfinished
        if item.request.adapter and item.has_begun is has_begun
    ]
    return ",".join([*dict.fromkeys(reversed(names))][:MAX_LISTED_ADAPTERS])
