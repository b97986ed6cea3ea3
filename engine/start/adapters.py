"""Reads the adapters that an engine starts with."""

import logging
from collections.abc import Callable

from motet.chat_template import check_prompt_files
from motet.engine.models.base_tensors import CheckpointTensors
from motet.engine.start.blueprint import Blueprint
from motet.errors import AdapterError
from motet.memory.adapter import Adapter
from motet.memory.device.peft import read_adapter
from motet.memory.device.store import HostStore

log = logging.getLogger(__name__)


def stage_adapters(
    blueprint: Blueprint, base_model_id: str, progress: Callable[[int, int], None]
) -> tuple[HostStore, tuple[Adapter, ...]]:
    """Read every adapter and lay it out in host memory; reports how many are done, and of how many.

    Raises AdapterError for one that cannot be served, unless it is optional: that is left out.
    """
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
        progress(done, len(config.adapters))
    return store, tuple(adapters)
