"""The adapters that an engine starts with."""

import logging
from collections.abc import Callable

from motet.chat_template import check_prompt_files
from motet.engine.models.base_tensors import CheckpointTensors
from motet.engine.start.blueprint import Blueprint
from motet.memory.adapter import Adapter
from motet.memory.device.staging import AdapterStager

log = logging.getLogger(__name__)


def stager_of(blueprint: Blueprint, base_model_id: str) -> AdapterStager:
    """What reads adapters for this engine, now and later."""
    return AdapterStager(
        blueprint.geometry,
        blueprint.layout,
        blueprint.dtype,
        base_model_id,
        blueprint.config.batch.max_lora_rank,
        CheckpointTensors(blueprint.spec),
    )


def given_adapters(
    blueprint: Blueprint, stager: AdapterStager, progress: Callable[[int, int], None]
) -> tuple[Adapter, ...]:
    """In the order of the configuration; nothing of them is kept but what is said here.

    Those that were asked for are read, so that the operator hears now what is wrong with them:
    raises AdapterError for one that cannot be served, and reports how many are read, and of how
    many. Those that are optional are not even opened: there may be thousands.
    """
    config = blueprint.config
    num_asked = sum(name not in config.optional_adapters for name, _ in config.adapters)
    adapters: list[Adapter] = []
    num_read = 0
    for name, directory in config.adapters:
        if name in config.optional_adapters:
            adapters.append(Adapter(name, None, 1, 0, 0, directory))
        else:
            adapters.append(_read(stager, name, directory))
            num_read += 1
            progress(num_read, num_asked)
    return tuple(adapters)


def _read(stager: AdapterStager, name: str, directory: str) -> Adapter:
    check_prompt_files(directory)
    weights = stager.read(directory)
    num_pages = stager.verify(weights).pattern.num_pages
    for warning in weights.training.warnings:
        log.warning("adapter '%s': %s", directory, warning)
    return Adapter(name, stager.digest(weights), 1, weights.max_rank, num_pages, directory)
