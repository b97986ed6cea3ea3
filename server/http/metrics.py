"""What Prometheus sees. The engine's counts are read when asked for; times are taken here."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from motet.engine import (
    AdapterMirror,
    Engine,
    EngineStats,
    EngineStatus,
    FinishReason,
    Standing,
)
from motet.server.http.metric_aliases import VllmAliases


@dataclass(frozen=True, slots=True)
class Labelled:
    """A metric with one series for each value of a label, or of several."""

    name: str
    help: str
    labels: tuple[str, ...]
    series: dict[tuple[str, ...], tuple[str, ...]]
    """Values of the labels -> fields of EngineStats that come to it, a `-` before those that are
    taken off."""

    def values(self, stats: EngineStats) -> Iterator[tuple[tuple[str, ...], int]]:
        for values, names in self.series.items():
            signed = ((-1 if name.startswith("-") else 1, name.lstrip("-")) for name in names)
            yield values, sum(sign * getattr(stats, name) for sign, name in signed)


def _by_owner(name: str, help: str, of_owner: dict[str, str]) -> Labelled:
    """Owner -> field of EngineStats."""
    return Labelled(name, help, ("owner",), {(o,): (field,) for o, field in of_owner.items()})


OWNERS = ("free", "kv", "adapter", "transfer", "quarantined")
LABELLED_GAUGES = (
    _by_owner(
        "motet_pages", "Pages of the pool, by owner.", {owner: f"pages_{owner}" for owner in OWNERS}
    ),
    _by_owner(
        "motet_idle_pages",
        "Of these, pages kept for reuse that no request uses now.",
        {"kv": "idle_pages_kv", "adapter": "idle_pages_adapter"},
    ),
    _by_owner(
        "motet_host_pages",
        "Pages of the host, by owner.",
        {owner: f"host_pages_{owner}" for owner in OWNERS},
    ),
)
LABELLED_COUNTERS = (
    _by_owner(
        "motet_page_evictions",
        "Pages taken from idle owners.",
        {"kv": "kv_page_evictions", "adapter": "adapter_page_evictions"},
    ),
    _by_owner(
        "motet_host_page_evictions",
        "Pages of the host taken from idle owners.",
        {"kv": "host_kv_page_evictions", "adapter": "host_adapter_page_evictions"},
    ),
    Labelled(
        "motet_adapter_lookups",
        "Requests whose adapter was looked for there: on the device first, on disk last.",
        ("tier",),
        {
            ("device",): ("adapter_hits_device", "adapter_hits_host", "adapter_hits_disk"),
            ("host",): ("adapter_hits_host", "adapter_hits_disk"),
            ("disk",): ("adapter_hits_disk",),
        },
    ),
    Labelled(
        "motet_prefetch_calls",
        "Calls of agents for which something had been brought: all of it was there, a part was on "
        "its way, or it was gone again or not what was asked for.",
        ("outcome",),
        {(outcome,): (f"prefetches_{outcome}",) for outcome in ("useful", "late", "wasted")},
    ),
    Labelled(
        "motet_adapter_hits",
        "Requests whose adapter was found there.",
        ("tier",),
        {(tier,): (f"adapter_hits_{tier}",) for tier in ("device", "host", "disk")},
    ),
)


@dataclass(frozen=True, slots=True)
class Keyed:
    """A metric with a series for each key that has come up; keys are values of labels, with a slash
    between."""

    name: str
    help: str
    labels: tuple[str, ...]
    field: str
    """Of EngineStats."""

    def values(self, stats: EngineStats) -> Iterator[tuple[tuple[str, ...], float]]:
        for key, number in getattr(stats, self.field).items():
            yield tuple(key.split("/")), number


KEYED_COUNTERS = (
    Keyed(
        "motet_evictions_by_distance",
        "Pages evicted, by what was known of their next use.",
        ("tier", "owner", "distance"),
        "evictions",
    ),
    Keyed(
        "motet_prefetches",
        "Copies begun before an agent called, by who said that it would.",
        ("source",),
        "prefetches",
    ),
    Keyed(
        "motet_forecasts",
        "Calls of agents of which somebody had said when they would come.",
        ("source", "unit"),
        "forecasts",
    ),
    Keyed(
        "motet_forecast_error",
        "By how much these were wrong, all in all, in their unit.",
        ("source", "unit"),
        "forecast_errors",
    ),
)
MOVED = Labelled(
    "motet_moved_bytes",
    "Bytes of pages copied from one tier to another.",
    ("source", "target", "owner"),
    {
        ("disk", "host", "adapter"): ("read_pages",),
        ("host", "device", "adapter"): ("loaded_pages", "-restored_kv_pages"),
        ("host", "device", "kv"): ("restored_kv_pages",),
        ("device", "host", "kv"): ("written_back_kv_pages",),
    },
)
"""In pages, which are counted."""

GAUGES = (
    ("motet_agents", "Agents that are known.", "agents"),
    ("motet_requests_running", "Requests in the running batch.", "num_running"),
    ("motet_requests_waiting", "Requests that wait for room or for their adapter.", "num_waiting"),
    (
        "motet_requests_waiting_for_state",
        "Of these, requests whose adapter or KV is on its way.",
        "num_waiting_for_state",
    ),
)
COUNTERS = (
    ("motet_preemptions", "Requests that gave their pages up and run again.", "preemptions"),
    ("motet_recomputed_tokens", "Tokens computed again for them.", "recomputed_tokens"),
    ("motet_adapter_loads", "Copies of adapters into the page pool.", "adapter_loads"),
    ("motet_adapter_reads", "Adapters read from disk.", "adapter_reads"),
    ("motet_load_seconds", "From the beginnings of copies to the device to their ends.", "load_s"),
    ("motet_state_waits", "Requests that waited for their adapter or KV.", "state_waits"),
    ("motet_state_wait_seconds", "How long they did.", "state_wait_s"),
    ("motet_prefix_query_tokens", "Prompt tokens looked up there.", "prefix_query_tokens"),
    ("motet_prefix_hit_tokens", "Prompt tokens found in the prefix index.", "prefix_hit_tokens"),
    ("motet_prefetched_pages", "Pages copied before an agent called.", "prefetched_pages"),
    (
        "motet_prefetch_inversions",
        "Agents who lost state to one who called only after them.",
        "inversions",
    ),
    ("motet_steps", "Steps of the engine.", "steps"),
)
"""Name, help and field of EngineStats. Prometheus appends `_total` to the names of counters."""

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
TOKEN_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5)
ITERATION_BUCKETS = tuple(2**power for power in range(18))
CHOICE_BUCKETS = (1, 2, 5, 10, 20, 50, 100)
REQUEST_BUCKETS_S = (*LATENCY_BUCKETS_S, 120, 300, 600, 1800)


class Metrics:
    """All series of one server, in registries of their own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._own = registry = CollectorRegistry()
        self._shown = CollectorRegistry()
        self._shown.register(registry)
        registry.register(_EngineCollector(engine))
        self.requests = Counter(
            "motet_requests", "Requests that ended.", ["finish_reason"], registry=registry
        )
        for reason in FinishReason:
            self.requests.labels(reason.value)  # shown as 0 from the start
        self.prompt_tokens = Counter(
            "motet_prompt_tokens", "Prompt tokens of answered requests.", registry=registry
        )
        self.generation_tokens = Counter(
            "motet_generation_tokens", "Tokens generated.", registry=registry
        )

        def histogram(name: str, help: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(f"motet_{name}", help, buckets=buckets, registry=registry)

        self.first_token_s = histogram(
            "time_to_first_token_seconds",
            "From the arrival of a request to its first token.",
            LATENCY_BUCKETS_S,
        )
        self.inter_token_s = histogram(
            "inter_token_latency_seconds",
            "From one token of a request to its next.",
            LATENCY_BUCKETS_S,
        )
        self.request_s = histogram(
            "e2e_request_latency_seconds",
            "From the arrival of a request to its end.",
            REQUEST_BUCKETS_S,
        )
        self.decode_s = histogram(
            "request_decode_time_seconds",
            "From the first token of a request to its end.",
            REQUEST_BUCKETS_S,
        )
        self.request_prompt_tokens = histogram(
            "request_prompt_tokens", "Prompt tokens of a request.", TOKEN_BUCKETS
        )
        self.request_generation_tokens = histogram(
            "request_generation_tokens", "Tokens generated for a request.", TOKEN_BUCKETS
        )
        self.request_n = histogram(
            "request_params_n", "Choices that a request asks for.", CHOICE_BUCKETS
        )
        self.request_max_tokens = histogram(
            "request_params_max_tokens", "Limit of tokens that a request sets.", TOKEN_BUCKETS
        )

    def name_model(self, name: str) -> None:
        """Show the series under vLLM's names as well. Called once, when the model is loaded."""
        self._shown.register(VllmAliases(self._engine, self._own, name))

    def params(self, n: int, max_tokens: int | None) -> None:
        """What a request that was let in asks for."""
        self.request_n.observe(n)
        if max_tokens is not None:
            self.request_max_tokens.observe(max_tokens)

    def meter(self, num_prompt_tokens: int, arrived_s: float) -> "Meter":
        """For one request that arrived at `arrived_s` on the monotonic clock."""
        return Meter(self, num_prompt_tokens, arrived_s)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All series in the format that `accept` asks for, and its content type."""
        encode: Callable[[CollectorRegistry], bytes]
        encode, content_type = choose_encoder(accept)
        return encode(self._shown), content_type


class Meter:
    """Takes the times of one request."""

    def __init__(self, metrics: Metrics, num_prompt_tokens: int, arrived_s: float) -> None:
        self._metrics = metrics
        self._num_prompt_tokens = num_prompt_tokens
        self._arrived_s = arrived_s
        self._num_tokens = 0
        self._first_token_s: float | None = None
        self._last_token_s = 0.0

    def token(self) -> None:
        """A token has come."""
        now = time.monotonic()
        self._num_tokens += 1
        self._metrics.generation_tokens.inc()
        if self._first_token_s is None:
            self._first_token_s = now
            self._metrics.prompt_tokens.inc(self._num_prompt_tokens)
            self._metrics.first_token_s.observe(now - self._arrived_s)
        else:
            self._metrics.inter_token_s.observe(now - self._last_token_s)
        self._last_token_s = now

    def finish(self, reason: FinishReason) -> None:
        """The request has ended. Called once."""
        now, metrics = time.monotonic(), self._metrics
        metrics.requests.labels(reason.value).inc()
        metrics.request_s.observe(now - self._arrived_s)
        if self._first_token_s is not None:
            metrics.decode_s.observe(now - self._first_token_s)
            if self._num_prompt_tokens:  # else another choice has counted them
                metrics.request_prompt_tokens.observe(self._num_prompt_tokens)
            metrics.request_generation_tokens.observe(self._num_tokens)


class _EngineCollector(Collector):
    """Reads the engine's latest snapshot."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        stats = self._engine.stats
        for table in LABELLED_GAUGES:
            yield _labelled(GaugeMetricFamily, table, stats)
        for table in LABELLED_COUNTERS:
            yield _labelled(CounterMetricFamily, table, stats)
        for keyed in KEYED_COUNTERS:
            yield _labelled(CounterMetricFamily, keyed, stats)
        if self._engine.status is EngineStatus.READY:
            info = self._engine.info
            size = info.page_bytes
            yield GaugeMetricFamily("motet_page_bytes", "Size of a page.", value=size)
            yield _labelled(CounterMetricFamily, MOVED, stats, size)
            if info.link_gbps is not None:
                yield GaugeMetricFamily(
                    "motet_simulated_link_gbps",
                    "Gigabits per second each way of a simulated link between device and host: all "
                    "that is measured here is about it.",
                    value=info.link_gbps,
                )
        yield _adapters(self._engine.adapters)
        for name, help, field in GAUGES:
            yield GaugeMetricFamily(name, help, value=getattr(stats, field))
        for name, help, field in COUNTERS:
            yield CounterMetricFamily(name, help, value=getattr(stats, field))
        yield _iteration_tokens(self._engine)


def _iteration_tokens(engine: Engine) -> Metric:
    iterations, total = engine.iterations, 0
    family = HistogramMetricFamily(
        "motet_iteration_tokens", "Tokens of a step: those generated, and prompts it completes."
    )
    buckets: list[tuple[str, float]] = []
    for size in ITERATION_BUCKETS:
        total += iterations.num_steps[size]
        buckets.append((f"{size:.1f}", total))
    buckets.append(("+Inf", iterations.num_steps.total()))
    family.add_metric([], buckets, iterations.num_tokens)
    return family


def _labelled(
    family_type: type[GaugeMetricFamily] | type[CounterMetricFamily],
    table: Labelled | Keyed,
    stats: EngineStats,
    factor: int = 1,
) -> Metric:
    family = family_type(table.name, table.help, labels=table.labels)
    for values, number in table.values(stats):
        family.add_metric(values, factor * number)
    return family


def _adapters(mirror: AdapterMirror) -> Metric:
    """Counts alone: of thousands, one series each would be megabytes."""
    family = GaugeMetricFamily(
        "motet_adapters", "Generations of adapters, by standing.", labels=["standing"]
    )
    family.add_metric([Standing.CURRENT.value], len(mirror.current))
    family.add_metric([Standing.LEAVING.value], len(mirror.leaving))
    return family
