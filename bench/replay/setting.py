"""The trace and the machine that the options speak of."""

from pathlib import Path
from typing import Any

from motet.bench.replay.arm import Arm
from motet.bench.replay.config import DEFAULT_POOL_RATIO, UNIFIED, SettingConfig, TraceConfig
from motet.bench.replay.costs import COST_MODELS
from motet.bench.replay.run import Setting
from motet.bench.replay.state import TraceState
from motet.client.workloads import READERS, Trace, generate_trace
from motet.engine.config import BatchConfig
from motet.errors import ConfigError

DEFAULT_WORKLOAD = "independent"
DEFAULT_PARAMETERS = {"steps": 100}
"""Where no workload is named, a first look should take seconds."""

BATCH = BatchConfig(max_batch_tokens=8192, max_batch_rows=256, max_batch_adapters=256)


def trace_of(config: TraceConfig, file: Path | None, **swept: Any) -> Trace:
    """Read or generated. Raises ConfigError."""
    if file is None:
        if config.format != "motet":
            raise ConfigError(f"--format is {config.format}, and no trace is given: name its file")
        defaults = {} if config.workload is not None else DEFAULT_PARAMETERS
        name = config.workload or DEFAULT_WORKLOAD
        return _with_calls(generate_trace(name, **{**defaults, **config.given, **swept}))
    given = ["workload"] if config.workload is not None else []
    given += [name for name in config.given if name != "seed"]
    if given:
        raise ConfigError(
            f"--{given[0]} is for generated workloads, and {file} is a trace: give one of them"
        )
    return _with_calls(READERS[config.format](file))


def setting_of(trace: Trace, config: SettingConfig, seed: int) -> Setting:
    """Raises ConfigError where the trace does not fit."""
    cost = COST_MODELS[config.cost_model]
    state = TraceState(trace, cost, config.page_tokens)
    page_bytes = cost.model.layout(config.page_tokens).page_bytes
    if config.pool_bytes is None:
        num_pages = int((config.pool_ratio or DEFAULT_POOL_RATIO) * state.num_pages)
    else:
        num_pages = config.pool_bytes // page_bytes
    num_host_pages = int(config.host_ratio * state.num_pages)
    _check_pool(config, state, num_pages, page_bytes)
    if num_host_pages < state.largest_adapter_pages:
        least = _share(state.largest_adapter_pages, state)
        raise ConfigError(
            f"--host-ratio is {config.host_ratio}: the host has {num_host_pages} pages, and the "
            f"largest adapter {state.largest_adapter_pages}: give {least} or more"
        )
    return Setting(trace, cost, state, config.page_tokens, num_pages, num_host_pages, BATCH, seed)


def check_arm(setting: Setting, arm: Arm) -> None:
    """Raises ConfigError where one of the two parts of a divided pool is too small."""
    if arm.pool_split == UNIFIED:
        return
    num_adapter_pages = int(float(arm.pool_split) * setting.num_pages)
    parts = {
        "adapter": (num_adapter_pages, setting.state.largest_adapter_pages),
        "call": (setting.num_pages - num_adapter_pages, setting.state.largest_kv_pages),
    }
    for what, (num_pages, least) in parts.items():
        if num_pages < least:
            raise ConfigError(
                f"--pool-split is {arm.pool_split}: that leaves {num_pages} pages, and the largest "
                f"{what} needs {least}: divide it otherwise, or take a larger pool"
            )


def _with_calls(trace: Trace) -> Trace:
    if not trace.calls:
        raise ConfigError(
            f"the trace of {trace.header.workload} has no calls: give it more agents, steps or "
            "activity"
        )
    return trace


def _check_pool(config: SettingConfig, state: TraceState, num_pages: int, page_bytes: int) -> None:
    least = state.largest_pages
    if num_pages >= least:
        return
    if config.pool_bytes is None:
        given = f"--pool-ratio is {config.pool_ratio or DEFAULT_POOL_RATIO}"
        remedy = _share(least, state)
    else:
        given, remedy = f"--pool-bytes is {config.pool_bytes}", f"{least * page_bytes}"
    raise ConfigError(
        f"{given}: the pool has {num_pages} pages of {config.page_tokens} tokens, and the largest "
        f"call needs {least} with its adapter: give {remedy} or more"
    )


def _share(num_pages: int, state: TraceState) -> str:
    """Of all state, rounded up."""
    return f"{-(-100 * (num_pages + 1) // max(1, state.num_pages)) / 100:g}"
