"""Reads one adapter as a start would, to say whether it can be served."""

from dataclasses import dataclass

from motet.chat_template import check_prompt_files
from motet.engine.models.base_tensors import CheckpointTensors
from motet.engine.start.blueprint import Blueprint
from motet.engine.start.origin import AdapterOrigin, origin_of
from motet.memory.device.peft import read_adapter
from motet.memory.device.store import HostStore


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """An adapter that can be served."""

    max_rank: int
    num_modules: int
    """Linear layers it adapts, over all layers of the model."""
    num_pages: int
    digest: str
    origin: AdapterOrigin


def inspect_adapter(blueprint: Blueprint, base_model_id: str, directory: str) -> AdapterFacts:
    """Read and lay out all of the adapter. Raises AdapterError, as a start, if it is refused."""
    check_prompt_files(directory)
    geometry = blueprint.geometry
    base = CheckpointTensors(blueprint.spec)
    weights = read_adapter(directory, geometry, blueprint.config.batch.max_lora_rank, base)
    store = HostStore(
        geometry, blueprint.layout, blueprint.dtype, base_model_id, base, pin_memory=False
    )
    digest = store.stage(weights)
    return AdapterFacts(
        max_rank=weights.max_rank,
        num_modules=len(weights.pairs),
        num_pages=store[digest].num_pages,
        digest=digest,
        origin=origin_of(weights, blueprint.config.model),
    )
