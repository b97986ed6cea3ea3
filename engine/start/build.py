"""From a configuration to an engine that runs: adapters first, then weights, then the pool."""

from collections.abc import Callable
from functools import partial

from motet.engine.config import EngineConfig
from motet.engine.core import EngineCore
from motet.engine.inbox import Inbox
from motet.engine.models import Model, check_weights, load_model
from motet.engine.output import EngineInfo
from motet.engine.recording import Recorder, SchedulerSpec
from motet.engine.start.adapters import given_adapters, stager_of
from motet.engine.start.blueprint import Blueprint, blueprint_of
from motet.engine.start.capacity import free_bytes, pool_bytes
from motet.engine.start.costs import costs_of
from motet.engine.start.executor import make_executor
from motet.engine.start.heap import keep_freed_memory
from motet.engine.start.host import HOST, host_pages
from motet.engine.start.identity import identify
from motet.engine.start.kernels import prepare_kernels
from motet.engine.start.step_bytes import step_bytes
from motet.engine.start.threads import set_threads
from motet.kernels import Kernels
from motet.memory.adapter import Adapter
from motet.memory.device.staging import AdapterStager

StageProgress = Callable[[str, int, int], None]
"""Called with what is being made ready ("kernels", "adapters" or "weights"), how much of it is
done, and the total."""


def build(
    config: EngineConfig, progress: StageProgress, *, poison_released: bool = False
) -> EngineCore:
    """Load everything. Raises ConfigError, as early as it can be known, for what cannot work.

    `poison_released` fills dead pages with NaN, for tests.
    """
    blueprint = blueprint_of(config)
    if blueprint.device.type == "cpu":
        set_threads(config.model_config.threads)
    is_deterministic = config.model_config.deterministic
    kernels = prepare_kernels(
        blueprint.device, partial(progress, "kernels"), is_deterministic=is_deterministic
    )
    check_weights(blueprint.spec)
    base_model_id = identify(config.model)
    stager = stager_of(blueprint, base_model_id)
    adapters = given_adapters(blueprint, stager, partial(progress, "adapters"))
    largest = max((adapter.num_pages for adapter in adapters), default=0)
    if config.pool.pool_bytes is not None:  # now rather than after minutes of loading
        blueprint.num_pages(config.pool.pool_bytes, largest)
    host_pages(blueprint, free_bytes(HOST), largest)  # the same
    model = load_model(
        blueprint.spec,
        blueprint.dtype,
        blueprint.device,
        blueprint.max_model_len,
        partial(progress, "weights"),
        is_deterministic=is_deterministic,
    )
    num_pages = blueprint.num_pages(_pool_bytes(blueprint, model, kernels, stager), largest)
    num_host_pages = host_pages(blueprint, _free_host_bytes(blueprint, num_pages), largest)
    spec = SchedulerSpec(
        batch=config.batch,
        max_model_len=blueprint.max_model_len,
        num_pages=num_pages,
        num_host_pages=num_host_pages,
        num_adapter_pages=blueprint.num_adapter_pages(num_pages, largest),
        page_tokens=blueprint.layout.page_tokens,
        base_model=base_model_id,
        adapters=adapters,
        costs=costs_of(blueprint, base_model_id),
        eviction=config.pool.eviction,
        prefetch=config.pool.prefetch == "on",
    )
    inbox = Inbox()
    executor = make_executor(
        blueprint,
        model,
        kernels,
        stager,
        num_pages,
        num_host_pages,
        inbox,
        poison_released=poison_released,
    )
    if blueprint.device.type == "cpu":
        keep_freed_memory()
    info = _info(blueprint, num_pages, num_host_pages, adapters)
    recorder = Recorder.open(config.record.record, spec) if config.record.record else None
    return EngineCore(info, spec.make(), executor, inbox, recorder)


def _pool_bytes(blueprint: Blueprint, model: Model, kernels: Kernels, stager: AdapterStager) -> int:
    """The size that was asked for, or a share of what is free now."""
    device = blueprint.device
    needed = step_bytes(blueprint, model, kernels, stager) if device.type == "cuda" else 0
    return pool_bytes(blueprint.config.pool.pool_bytes, free_bytes(device) - needed, device)


def _free_host_bytes(blueprint: Blueprint, num_pages: int) -> int:
    """What the host has left beside a pool that is not touched yet."""
    is_there = blueprint.device == HOST
    return free_bytes(HOST) - (num_pages * blueprint.layout.page_bytes if is_there else 0)


def _info(
    blueprint: Blueprint, num_pages: int, num_host_pages: int, adapters: tuple[Adapter, ...]
) -> EngineInfo:
    config, spec, layout = blueprint.config, blueprint.spec, blueprint.layout
    return EngineInfo(
        model=config.model,
        architecture=spec.architecture,
        dtype=blueprint.dtype_name,
        device=str(blueprint.device),
        vocab_size=spec.num_token_ids,
        max_model_len=blueprint.max_model_len,
        eos_token_ids=spec.eos_token_ids,
        max_lora_rank=config.batch.max_lora_rank,
        max_batch_rows=config.batch.max_batch_rows,
        max_batch_adapters=config.batch.max_batch_adapters,
        num_pages=num_pages,
        page_bytes=layout.page_bytes,
        page_tokens=layout.page_tokens,
        rank16_adapter_pages=blueprint.uniform_adapter_pages(16),
        adapters=adapters,
        num_host_pages=num_host_pages,
        link_gbps=config.pool.link_gbps,
    )
