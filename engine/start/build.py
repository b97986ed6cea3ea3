"""From a configuration to an engine that runs: adapters first, then weights, then the pool."""

import gc
import hashlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from msgspec.structs import replace
from torch import Tensor

from motet.chat_template import check_prompt_files
from motet.engine.config import EngineConfig
from motet.engine.core import EngineCore
from motet.engine.device.buffers import StepBuffers
from motet.engine.device.local import LocalExecutor
from motet.engine.device.slots import DeviceSlots
from motet.engine.inbox import Inbox
from motet.engine.models import Model, check_weights, load_model
from motet.engine.models.base_tensors import CheckpointTensors
from motet.engine.models.checkpoint import weight_files
from motet.engine.output import EngineInfo
from motet.engine.plan import BASE_SLOT, Batch, PromptTargets, Row
from motet.engine.recording import Recorder, SchedulerSpec
from motet.engine.request import SamplingParams
from motet.engine.start.blueprint import Blueprint, blueprint_of
from motet.engine.start.capacity import free_bytes, pool_bytes
from motet.engine.start.heap import keep_freed_memory
from motet.engine.start.kernels import prepare_kernels
from motet.engine.start.threads import set_threads
from motet.errors import AdapterError
from motet.file_names import MODEL_CONFIG
from motet.kernels import Kernels
from motet.memory.adapter import Adapter
from motet.memory.device.arena import Arena
from motet.memory.device.copier import Copier
from motet.memory.device.peft import read_adapter
from motet.memory.device.store import HostStore
from motet.memory.layout import TILE_RANKS, num_tiles
from motet.memory.page import PageId

log = logging.getLogger(__name__)

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
    store, adapters = _stage_adapters(blueprint, base_model_id, progress)
    largest = max((adapter.num_pages for adapter in adapters), default=0)
    if config.pool.pool_bytes is not None:  # now rather than after minutes of loading
        blueprint.num_pages(config.pool.pool_bytes, largest)
    model = load_model(
        blueprint.spec,
        blueprint.dtype,
        blueprint.device,
        blueprint.max_model_len,
        partial(progress, "weights"),
        is_deterministic=is_deterministic,
    )
    num_pages = blueprint.num_pages(_pool_bytes(blueprint, model, kernels, store), largest)
    spec = SchedulerSpec(
        batch=config.batch,
        max_model_len=blueprint.max_model_len,
        num_pages=num_pages,
        page_tokens=blueprint.layout.page_tokens,
        base_model=base_model_id,
        adapters=adapters,
    )
    inbox = Inbox()
    executor = _executor(
        blueprint, model, kernels, store, num_pages, inbox, poison_released=poison_released
    )
    if blueprint.device.type == "cpu":
        keep_freed_memory()
    info = _info(blueprint, num_pages, adapters)
    recorder = Recorder.open(config.record.record, spec) if config.record.record else None
    return EngineCore(info, spec.make(), executor, inbox, recorder)


def identify(directory: str) -> str:
    """A name for the content of a model directory that is cheap to find: a SHA-256.

    Covers config.json and, of every file of weights, its name, its header (names, shapes, dtypes
    and places of all tensors) and its size, but not the values of the weights: it tells apart
    models of different shape, not two trainings of one shape.
    """
    sha = hashlib.sha256((Path(directory) / MODEL_CONFIG).read_bytes())
    for path in weight_files(Path(directory)):
        size = path.stat().st_size
        with path.open("rb") as file:
            length = file.read(8)
            header = file.read(min(int.from_bytes(length, "little"), size))  # may be corrupt
        sha.update(f"\n{path.name} {size} ".encode() + length + header)
    return sha.hexdigest()


def _stage_adapters(
    blueprint: Blueprint, base_model_id: str, progress: StageProgress
) -> tuple[HostStore, tuple[Adapter, ...]]:
    """Read every adapter and lay it out in host memory."""
    config, geometry = blueprint.config, blueprint.geometry
    is_cuda = blueprint.device.type == "cuda"
    base = CheckpointTensors(blueprint.spec)
    store = HostStore(
        geometry, blueprint.layout, blueprint.dtype, base_model_id, base, pin_memory=is_cuda
    )
    adapters = []
    for done, (name, directory) in enumerate(config.adapters, start=1):
        try:
            check_prompt_files(directory)
            weights = read_adapter(directory, geometry, config.batch.max_lora_rank, base)
            digest = store.stage(weights)
        except AdapterError as error:
            if name not in config.optional_adapters:
                raise
            log.warning("%s (found in --adapter-dir: left out)", error)
        else:
            for warning in weights.training.warnings:
                log.warning("adapter '%s': %s", directory, warning)
            num_pages = store[digest].num_pages
            adapters.append(Adapter(name, digest, 1, weights.max_rank, num_pages, directory))
        progress("adapters", done, len(config.adapters))
    return store, tuple(adapters)


def _pool_bytes(blueprint: Blueprint, model: Model, kernels: Kernels, store: HostStore) -> int:
    """The size that was asked for, or a share of what is free now."""
    device = blueprint.device
    needed = _step_bytes(blueprint, model, kernels, store) if device.type == "cuda" else 0
    return pool_bytes(blueprint.config.pool.pool_bytes, free_bytes(device) - needed, device)


def _step_bytes(blueprint: Blueprint, model: Model, kernels: Kernels, store: HostStore) -> int:
    """Most bytes a step takes beside weights and pool: measured by one at the limits."""
    device = blueprint.device
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    executor = _executor(blueprint, model, kernels, store, num_pages=1, inbox=Inbox())
    executor.execute(_batch_at_the_limits(blueprint))
    peak = torch.cuda.max_memory_allocated(device) - before
    gc.collect()
    torch.cuda.empty_cache()
    return peak


def _batch_at_the_limits(blueprint: Blueprint) -> Batch:
    """As many rows and tokens as a step may have, every one reported; all use page 0."""
    limits = blueprint.config.batch
    num_rows = min(limits.max_batch_rows, limits.max_batch_tokens)
    length = min(limits.max_batch_tokens // num_rows, blueprint.max_model_len)
    pages = (PageId(0),) * -(-length // blueprint.layout.page_tokens)
    row = Row(
        request_id="0",
        tokens=(0,) * length,
        start=0,
        pages=pages,
        slot=BASE_SLOT,
        sampling=SamplingParams(max_tokens=1, top_p=0.5, num_logprobs=0),
        num_generated=0,
        targets=PromptTargets(1, (0,) * length, num_logprobs=1),
    )
    rows = tuple(replace(row, request_id=str(index)) for index in range(num_rows))
    return Batch(step=1, rows=rows, adapters=())


def _executor(
    blueprint: Blueprint,
    model: Model,
    kernels: Kernels,
    store: HostStore,
    num_pages: int,
    inbox: Inbox,
    *,
    poison_released: bool = False,
) -> LocalExecutor:
    limits, layout, device = blueprint.config.batch, blueprint.layout, blueprint.device
    arena = Arena(layout, num_pages, blueprint.dtype, device)
    return LocalExecutor(
        model=model,
        kernels=kernels,
        arena=arena,
        slots=DeviceSlots(
            limits.max_batch_adapters,
            blueprint.geometry,
            limits.max_lora_rank,
            layout.elements,
            device,
        ),
        store=store,
        copier=Copier(arena, store, inbox),
        buffers=StepBuffers(limits, blueprint.max_model_len, layout.page_tokens, device),
        shrunk=_shrunk(blueprint),
        poison_released=poison_released,
    )


def _shrunk(blueprint: Blueprint) -> Tensor:
    """Room between LoRA shrink and expand; whole tiles of ranks, and at most three slices."""
    limits = blueprint.config.batch
    ranks = num_tiles(limits.max_lora_rank) * TILE_RANKS
    return torch.zeros(
        3, limits.max_batch_tokens, ranks, dtype=torch.float32, device=blueprint.device
    )


def _info(blueprint: Blueprint, num_pages: int, adapters: tuple[Adapter, ...]) -> EngineInfo:
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
    )
