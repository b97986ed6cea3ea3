"""Thousands of adapters that nobody uses: what they cost a start, its answers and its memory."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from motet.bench.anonymous import anonymous_bytes
from motet.bench.tiers.adapters import write_adapters
from motet.bench.tiers.finding import Finding, PartReport, at_most
from motet.bench.tiers.server import Server, served, write_tiny_model
from motet.client.protocol import UnloadAdapterRequest

READY_GOAL_S, MODELS_GOAL_MS, METRICS_GOAL_KB, MEMORY_GOAL_KB = 5, 100, 200, 4
RANK = 8
NUM_FILES = 8
"""Distinct adapters; all others are links to them."""

Spread = tuple[float, float]
"""Median and largest."""


@dataclass(frozen=True, slots=True)
class Sizes:
    num_adapters: int = 10_000
    num_starts: int = 3
    """With adapters, and as many without, in turns."""
    num_lists: int = 20


FULL, SHORT = Sizes(), Sizes(num_starts=1, num_lists=5)


@dataclass(frozen=True, slots=True)
class Start:
    """What was seen of one server."""

    ready_s: float
    ready_bytes: int
    """Of its memory that no file backs, when it was ready."""
    listed_bytes: int
    """After all that was asked of it."""
    metrics_bytes: int
    anew_ms: tuple[float, ...]
    """GET /v1/models when there are other adapters than before."""
    kept_ms: tuple[float, ...]
    """The same when there are not."""


def measure(sizes: Sizes, directory: Path) -> PartReport:
    model, adapters, nothing = directory / "model", directory / "adapters", directory / "nothing"
    modules = write_tiny_model(model)
    nothing.mkdir()
    names = write_adapters(
        adapters,
        modules,
        torch.float32,
        num_adapters=sizes.num_adapters,
        num_distinct=min(NUM_FILES, sizes.num_adapters),
        rank=RANK,
    )
    without, with_all = [], []
    for _ in range(sizes.num_starts):
        with served(model, "--adapter-dir", str(nothing)) as server:
            without.append(_look_at(server, [], sizes.num_lists))
        with served(model, "--adapter-dir", str(adapters)) as server:
            with_all.append(_look_at(server, names, sizes.num_lists))
    title = f"{sizes.num_adapters:,} adapters in --adapter-dir, against none"
    return PartReport(title, _findings(without, with_all, sizes.num_adapters))


def _look_at(server: Server, names: list[str], num_lists: int) -> Start:
    ready_bytes = anonymous_bytes(server.pid)
    metrics_bytes = len(server.get("/metrics"))
    anew_ms, kept_ms = [], []
    for number in range(num_lists):
        if number and number < len(names):  # the first list is made anew anyhow
            server.post("/v1/unload_lora_adapter", UnloadAdapterRequest(lora_name=names[number]))
        anew_ms.append(_models_ms(server))
        kept_ms.append(_models_ms(server))
    return Start(
        server.ready_s,
        ready_bytes,
        anonymous_bytes(server.pid),
        metrics_bytes,
        tuple(anew_ms),
        tuple(kept_ms),
    )


def _models_ms(server: Server) -> float:
    start_s = time.perf_counter()
    server.get("/v1/models")
    return 1000 * (time.perf_counter() - start_s)


def _findings(without: list[Start], with_all: list[Start], num_adapters: int) -> list[Finding]:
    def kb_each(memory: Callable[[Start], int]) -> float:
        more = median(map(memory, with_all)) - median(map(memory, without))
        return more / num_adapters / 1000

    def spread(starts: list[Start], times: Callable[[Start], Iterable[float]]) -> Spread:
        all_ms = [ms for start in starts for ms in times(start)]
        return median(all_ms), max(all_ms)

    ready_s, bare_s = (median(s.ready_s for s in starts) for starts in (with_all, without))
    anew, bare_anew = (spread(starts, lambda s: s.anew_ms) for starts in (with_all, without))
    kept, bare_kept = (spread(starts, lambda s: s.kept_ms) for starts in (with_all, without))
    metrics_kb = max(s.metrics_bytes for s in with_all) / 1000
    return [
        at_most(
            "until /ready", ready_s - bare_s, READY_GOAL_S, "s more",
            of=f"{ready_s:.2f} s", against=f"{bare_s:.2f} s",
        ),
        at_most(
            "/v1/models after a change, longest", anew[1], MODELS_GOAL_MS, "ms",
            against=f"{bare_anew[1]:.1f} ms",
        ),
        Finding("the same, median", f"{anew[0]:.1f} ms", f"{bare_anew[0]:.1f} ms"),
        Finding("/v1/models again, median", f"{kept[0]:.1f} ms", f"{bare_kept[0]:.1f} ms"),
        at_most(
            "/metrics", metrics_kb, METRICS_GOAL_KB, "kB",
            against=f"{max(s.metrics_bytes for s in without) / 1000:.2f} kB",
        ),
        at_most(
            "memory of an adapter, when ready", kb_each(lambda s: s.ready_bytes),
            MEMORY_GOAL_KB, "kB",
        ),
        at_most(
            "the same, once they were listed", kb_each(lambda s: s.listed_bytes),
            MEMORY_GOAL_KB, "kB",
        ),
    ]  # fmt: skip
