"""What Prometheus sees. The engine's counts are read when asked for; times are taken here."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from motet.engine import Engine, EngineStats, EngineStatus, FinishReason


@dataclass(frozen=True, slots=True)
class ByOwner:
    """A metric with one series for each owner of pages."""

    name: str
    help: str
    of_owner: dict[str, str]
    """Owner -> field of EngineStats."""


PAGES = ByOwner(
    "motet_pages",
    "Pages of the pool, by owner.",
    {
        "free": "pages_free",
        "kv": "pages_kv",
        "adapter": "pages_adapter",
        "transfer": "pages_transfer",
        "quarantined": "pages_quarantined",
    },
)
IDLE_PAGES = ByOwner(
    "motet_idle_pages",
    "Of these, pages kept for reuse that no request uses now.",
    {"kv": "idle_pages_kv", "adapter": "idle_pages_adapter"},
)
EVICTIONS = ByOwner(
    "motet_page_evictions",
    "Pages taken from idle owners.",
    {"kv": "kv_page_evictions", "adapter": "adapter_page_evictions"},
)

GAUGES = (
    ("motet_requests_running", "Requests in the running batch.", "num_running"),
    ("motet_requests_waiting", "Requests that wait for room or for their adapter.", "num_waiting"),
)
COUNTERS = (
    ("motet_preemptions", "Requests that gave their pages up and run again.", "preemptions"),
    ("motet_adapter_loads", "Copies of adapters into the page pool.", "adapter_loads"),
    ("motet_prefix_hit_tokens", "Prompt tokens found in the prefix index.", "prefix_hit_tokens"),
    ("motet_steps", "Steps of the engine.", "steps"),
)
"""Name, help and field of EngineStats. Prometheus appends `_total` to the names of counters."""

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
REQUEST_BUCKETS_S = (*LATENCY_BUCKETS_S, 120, 300, 600, 1800)


class Metrics:
    """All series of one server, in a registry of its own."""

    def __init__(self, engine: Engine) -> None:
        self.registry = registry = CollectorRegistry()
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
        self.first_token_s = Histogram(
            "motet_time_to_first_token_seconds",
            "From the arrival of a request to its first token.",
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.inter_token_s = Histogram(
            "motet_inter_token_latency_seconds",
            "From one token of a request to its next.",
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.request_s = Histogram(
            "motet_e2e_request_latency_seconds",
            "From the arrival of a request to its end.",
            buckets=REQUEST_BUCKETS_S,
            registry=registry,
        )

    def meter(self, num_prompt_tokens: int, arrived_s: float) -> "Meter":
        """For one request that arrived at `arrived_s` on the monotonic clock."""
        return Meter(self, num_prompt_tokens, arrived_s)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All series in the format that `accept` asks for, and its content type."""
        encode: Callable[[CollectorRegistry], bytes]
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


class Meter:
    """Takes the times of one request."""

    def __init__(self, metrics: Metrics, num_prompt_tokens: int, arrived_s: float) -> None:
        self._metrics = metrics
        self._num_prompt_tokens = num_prompt_tokens
        self._arrived_s = arrived_s
        self._last_token_s: float | None = None

    def token(self) -> None:
        """A token has come."""
        now = time.monotonic()
        self._metrics.generation_tokens.inc()
        if self._last_token_s is None:
            self._metrics.prompt_tokens.inc(self._num_prompt_tokens)
            self._metrics.first_token_s.observe(now - self._arrived_s)
        else:
            self._metrics.inter_token_s.observe(now - self._last_token_s)
        self._last_token_s = now

    def finish(self, reason: FinishReason) -> None:
        """The request has ended. Called once."""
        self._metrics.requests.labels(reason.value).inc()
        self._metrics.request_s.observe(time.monotonic() - self._arrived_s)


class _EngineCollector(Collector):
    """Reads the engine's latest snapshot."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        stats = self._engine.stats
        yield _by_owner(GaugeMetricFamily, PAGES, stats)
        yield _by_owner(GaugeMetricFamily, IDLE_PAGES, stats)
        yield _by_owner(CounterMetricFamily, EVICTIONS, stats)
        if self._engine.status is EngineStatus.READY:
            size = self._engine.info.page_bytes
            yield GaugeMetricFamily("motet_page_bytes", "Size of a page.", value=size)
        for name, help, field in GAUGES:
            yield GaugeMetricFamily(name, help, value=getattr(stats, field))
        for name, help, field in COUNTERS:
            yield CounterMetricFamily(name, help, value=getattr(stats, field))


def _by_owner(
    family_type: type[GaugeMetricFamily] | type[CounterMetricFamily],
    fields: ByOwner,
    stats: EngineStats,
) -> Metric:
    family = family_type(fields.name, fields.help, labels=["owner"])
    for owner, field in fields.of_owner.items():
        family.add_metric([owner], getattr(stats, field))
    return family
