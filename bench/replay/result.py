"""What came of an arm: numbers a table, a plot or a program can use."""

from collections.abc import Callable

from msgspec import Struct

from motet.bench.replay.arm import Arm
from motet.bench.replay.run import Run, Setting
from motet.bench.replay.virtual import VirtualStage, virtual_stage


class Row(Struct, frozen=True, kw_only=True):
    """One arm."""

    eviction: str
    prefetch: bool
    pool_split: str
    hints: str
    noise_steps: float
    steps_per_s: float | None
    """Of the world; None where it has none."""
    makespan_s: float
    calls: int
    calls_per_s: float
    ttft_p50_s: float
    ttft_p99_s: float
    busy_s: float
    """In which something was computed."""
    stall_s: float
    """In which nothing was, although somebody waited."""
    link_to_device_s: float
    """In which the link moved something, each way, and the disk."""
    link_to_host_s: float
    disk_s: float
    loaded_bytes: int
    written_back_bytes: int
    read_bytes: int
    expected_tokens: int
    """Of prompts, in whole pages, that an earlier call of the agent had computed; found again:"""
    found_tokens: int
    recomputed_share: float
    """Of what was expected and not found."""
    restored_kv_pages: int
    """That came from the host, ahead or when they were asked for."""
    engine_steps: int
    preemptions: int
    adapter_hits_device: int
    adapter_hits_host: int
    adapter_hits_disk: int
    kv_pages_evicted: int
    adapter_pages_evicted: int
    prefetch_issued: dict[str, int]
    """Copies begun, by who said that they would be needed."""
    prefetch_useful: int
    prefetch_late: int
    prefetch_wasted: int
    prefetch_precision: float | None
    """Useful ones among those of which the end is known; None: there are none."""
    prefetch_bytes: int
    inversions: int
    """Agents who lost something to one who called only after them."""
    distance_error: dict[str, float]
    """Mean by source and unit."""
    fairness: float


def replay(setting: Setting, arm: Arm, progress: Callable[[float], None] = lambda _: None) -> Row:
    """On virtual time, to the end."""
    stage = virtual_stage(setting, arm)
    run = Run(setting, arm, stage, progress)
    run.go()
    return row_of(run, stage)


def row_of(run: Run, stage: VirtualStage) -> Row:
    """At the end of a run."""
    setting, now, latency = run.setting, stage.now, run.latency
    stats = stage.core.scheduler.stats()
    page_bytes, steps = setting.page_bytes, setting.trace.header.steps
    num_calls = len(setting.trace.calls)
    prefetch = run.memory.prefetcher.counters
    errors = run.memory.agents.errors
    num_known = prefetch.useful + prefetch.late + prefetch.wasted
    lines = stage.executor.lines
    return Row(
        eviction=run.arm.eviction,
        prefetch=run.arm.prefetch,
        pool_split=run.arm.pool_split,
        hints=run.arm.hints,
        noise_steps=run.arm.noise_steps,
        steps_per_s=steps / now if steps is not None else None,
        makespan_s=now,
        calls=num_calls,
        calls_per_s=num_calls / now,
        ttft_p50_s=latency.quantile(0.5),
        ttft_p99_s=latency.quantile(0.99),
        busy_s=stage.busy_s,
        stall_s=run.stall_s,
        link_to_device_s=lines.to_device.busy_s,
        link_to_host_s=lines.to_host.busy_s,
        disk_s=lines.from_disk.busy_s,
        loaded_bytes=stats.loaded_pages * page_bytes,
        written_back_bytes=stats.written_back_kv_pages * page_bytes,
        read_bytes=stats.read_pages * page_bytes,
        expected_tokens=run.num_expected_tokens,
        found_tokens=run.num_found_tokens,
        recomputed_share=1 - run.num_found_tokens / run.num_expected_tokens
        if run.num_expected_tokens
        else 0.0,
        restored_kv_pages=stats.restored_kv_pages,
        engine_steps=stats.steps,
        preemptions=stats.preemptions,
        adapter_hits_device=stats.adapter_hits_device,
        adapter_hits_host=stats.adapter_hits_host,
        adapter_hits_disk=stats.adapter_hits_disk,
        kv_pages_evicted=stats.kv_page_evictions,
        adapter_pages_evicted=stats.adapter_page_evictions,
        prefetch_issued={source: num for source, num in prefetch.issued.items() if num},
        prefetch_useful=prefetch.useful,
        prefetch_late=prefetch.late,
        prefetch_wasted=prefetch.wasted,
        prefetch_precision=prefetch.useful / num_known if num_known else None,
        prefetch_bytes=prefetch.pages * page_bytes,
        inversions=prefetch.inversions,
        distance_error={
            key: errors.sums[key] / num_calls for key, num_calls in errors.num_calls.items()
        },
        fairness=latency.fairness(),
    )
