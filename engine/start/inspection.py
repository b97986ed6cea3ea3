"""Reads one adapter as a start would, to say whether it can be served."""

from dataclasses import dataclass

from motet.chat_template import check_prompt_files
from motet.engine.start.adapters import stager_of
from motet.engine.start.blueprint import Blueprint
from motet.engine.start.origin import AdapterOrigin, origin_of


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
    stager = stager_of(blueprint, base_model_id)
    weights = stager.read(directory)
    num_pages = stager.verify(weights).pattern.num_pages
    return AdapterFacts(
        max_rank=weights.max_rank,
        num_modules=len(weights.pairs),
        num_pages=num_pages,
        digest=stager.digest(weights),
        origin=origin_of(weights, blueprint.config.model),
    )
