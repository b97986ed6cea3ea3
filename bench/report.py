"""What a load run measured: the numbers, and the block that people compare."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request as its client saw it. Times are seconds on one monotonic clock."""

    model: str
    start_s: float
    piece_times_s: tuple[float, ...] = ()
    """When each piece of the answer arrived."""
    num_input_tokens: int = 0
    num_output_tokens: int = 0
    error: str | None = None

    @property
    def ttft_s(self) -> float:
        return self.piece_times_s[0] - self.start_s

    @property
    def latency_s(self) -> float:
        return self.piece_times_s[-1] - self.start_s

    @property
    def gaps_s(self) -> list[float]:
        """Times between pieces."""
        return [later - earlier for earlier, later in pairwise(self.piece_times_s)]

    @property
    def tpot_s(self) -> float:
        """Mean time per output token after the first; needs two tokens."""
        return (self.latency_s - self.ttft_s) / (self.num_output_tokens - 1)


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The result of a run. Field names are those of `vllm bench serve --save-result`."""

    completed: int
    failed: int
    max_concurrency: int
    duration: float
    total_input_tokens: int
    total_output_tokens: int
    request_throughput: float
    output_throughput: float
    max_output_tokens_per_s: float
    max_concurrent_requests: int
    total_token_throughput: float
    mean_ttft_ms: float
    median_ttft_ms: float
    p99_ttft_ms: float
    mean_tpot_ms: float
    median_tpot_ms: float
    p99_tpot_ms: float
    mean_itl_ms: float
    median_itl_ms: float
    p99_itl_ms: float

    def block(self) -> str:
        """The report in the layout of `vllm bench serve`, line by line."""
        lines = [f"{' Serving Benchmark Result ':=^50}"]
        for item in fields(self):
            if item.name in HEADERS:
                lines.append(f"{HEADERS[item.name]:-^50}")
            value = getattr(self, item.name)
            shown = f"{value:.2f}" if item.name not in COUNTS else str(value)
            lines.append(f"{LABELS[item.name] + ':':<40} {shown:<10}")
        return "\n".join([*lines, "=" * 50])


COUNTS = {"completed", "failed", "max_concurrency", "total_input_tokens", "total_output_tokens"}

HEADERS = {
    "mean_ttft_ms": "Time to First Token",
    "mean_tpot_ms": "Time per Output Token (excl. 1st token)",
    "mean_itl_ms": "Inter-token Latency",
}

LABELS = {
    "completed": "Successful requests",
    "failed": "Failed requests",
    "max_concurrency": "Maximum request concurrency",
    "duration": "Benchmark duration (s)",
    "total_input_tokens": "Total input tokens",
    "total_output_tokens": "Total generated tokens",
    "request_throughput": "Request throughput (req/s)",
    "output_throughput": "Output token throughput (tok/s)",
    "max_output_tokens_per_s": "Peak output token throughput (tok/s)",
    "max_concurrent_requests": "Peak concurrent requests",
    "total_token_throughput": "Total token throughput (tok/s)",
    "mean_ttft_ms": "Mean TTFT (ms)",
    "median_ttft_ms": "Median TTFT (ms)",
    "p99_ttft_ms": "P99 TTFT (ms)",
    "mean_tpot_ms": "Mean TPOT (ms)",
    "median_tpot_ms": "Median TPOT (ms)",
    "p99_tpot_ms": "P99 TPOT (ms)",
    "mean_itl_ms": "Mean ITL (ms)",
    "median_itl_ms": "Median ITL (ms)",
    "p99_itl_ms": "P99 ITL (ms)",
}


def summarize(
    records: Sequence[RequestRecord], *, duration_s: float, concurrency: int
) -> LoadReport:
    """Sum up a run. A failed request counts in `failed` and nowhere else."""
    done = [record for record in records if record.error is None]
    num_input = sum(record.num_input_tokens for record in done)
    num_output = sum(record.num_output_tokens for record in done)
    several = [record for record in done if record.num_output_tokens > 1]
    return LoadReport(
        completed=len(done),
        failed=len(records) - len(done),
        max_concurrency=concurrency,
        duration=duration_s,
        total_input_tokens=num_input,
        total_output_tokens=num_output,
        request_throughput=len(done) / duration_s,
        output_throughput=num_output / duration_s,
        max_output_tokens_per_s=_peak_tokens_per_s(done),
        max_concurrent_requests=_peak_concurrency(done),
        total_token_throughput=(num_input + num_output) / duration_s,
        **_spread_ms("ttft", [record.ttft_s for record in done]),
        **_spread_ms("tpot", [record.tpot_s for record in several]),
        **_spread_ms("itl", [gap for record in done for gap in record.gaps_s]),
    )


def _spread_ms(name: str, times_s: Sequence[float]) -> dict[str, float]:
    """Mean, median and 99th percentile in milliseconds; 0 where nothing was measured."""
    times_ms = np.array(times_s or [0.0]) * 1000
    return {
        f"mean_{name}_ms": float(times_ms.mean()),
        f"median_{name}_ms": float(np.median(times_ms)),
        f"p99_{name}_ms": float(np.percentile(times_ms, 99)),
    }


def _peak_tokens_per_s(records: Sequence[RequestRecord]) -> float:
    """Most tokens that arrived within one whole second since the start.

    A piece may hold several tokens: those of an answer are spread evenly over its pieces.
    """
    start_s = min((record.start_s for record in records), default=0.0)
    seconds = [int(time_s - start_s) for record in records for time_s in record.piece_times_s]
    tokens = [
        record.num_output_tokens / len(record.piece_times_s)
        for record in records
        for _ in record.piece_times_s
    ]
    return float(np.bincount(seconds, tokens).max()) if seconds else 0.0


def _peak_concurrency(records: Sequence[RequestRecord]) -> int:
    """Most requests in flight; one that ends as another starts does not overlap it."""
    changes = [(record.start_s, 1) for record in records]
    changes += [(record.start_s + record.latency_s, -1) for record in records]
    return int(np.cumsum([change for _, change in sorted(changes)]).max(initial=0))
