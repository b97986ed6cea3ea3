"""What fits on this machine, known before anything is loaded."""

from dataclasses import dataclass, replace

from motet.chat_template import check_prompt_files
from motet.engine.config import EngineConfig
from motet.engine.models import weights_bytes
from motet.engine.models.base_tensors import CheckpointTensors
from motet.engine.start.blueprint import Blueprint, blueprint_of
from motet.engine.start.capacity import free_bytes, pool_bytes
from motet.engine.start.host import HOST, host_pages
from motet.engine.start.origin import AdapterOrigin, origin_of
from motet.errors import AdapterError, ConfigError
from motet.memory.device.base_tensors import BaseTensors
from motet.memory.device.peft import read_adapter_header

RANKS = (8, 16, 64)
"""Of the adapters on every linear layer that are counted as examples."""

SHORT_TOKENS = 1000
"""Length of the sequences that are counted beside those of the full context."""


@dataclass(frozen=True, slots=True)
class AdapterEstimate:
    """An adapter that was given."""

    name: str
    path: str
    max_rank: int
    num_pages: int
    origin: AdapterOrigin
    """Its copies of the model's tensors are compared by shape only."""
    is_optional: bool = False
    """A start does not open it, and needs no room for it."""


@dataclass(frozen=True, slots=True)
class SkippedAdapter:
    """An optional adapter that requests would be refused for."""

    name: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class RankEstimate:
    """Adapters of one rank on every linear layer."""

    rank: int
    adapter_pages: int
    num_adapters: int
    """Most that are in the pool at once, beside nothing else."""


@dataclass(frozen=True, slots=True)
class SequenceEstimate:
    """Sequences of one length."""

    num_tokens: int
    num_sequences: int
    """Most that run at once, beside no adapter: limited by pages, or by rows of a step."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The memory of an engine, as its start would divide it."""

    model: str
    architecture: str
    dtype: str
    device: str
    max_model_len: int
    free_bytes: int
    """Now, before the weights are loaded."""
    weights_bytes: int
    pool_bytes: int
    num_pages: int
    page_bytes: int
    page_tokens: int
    num_tokens: int
    """Of KV, if nothing else is in the pool."""
    host_bytes: int
    """Behind the pool, on the host."""
    num_host_pages: int
    sequences: tuple[SequenceEstimate, ...]
    ranks: tuple[RankEstimate, ...]
    adapters: tuple[AdapterEstimate, ...]
    skipped_adapters: tuple[SkippedAdapter, ...]


def plan(config: EngineConfig) -> Estimate:
    """Estimate from config files and headers of tensors; no weight is read.

    Raises ConfigError, with the words of a start, for what cannot be served.
    """
    blueprint = blueprint_of(config)
    base = CheckpointTensors(blueprint.spec)
    adapters: list[AdapterEstimate] = []
    skipped: list[SkippedAdapter] = []
    for name, path in config.adapters:
        try:
            found = _measure(blueprint, base, name, path)
            adapters.append(replace(found, is_optional=name in config.optional_adapters))
        except AdapterError as error:
            if name not in config.optional_adapters:
                raise
            skipped.append(SkippedAdapter(name, path, str(error)))
    return estimate(
        blueprint,
        weights_bytes(blueprint.spec, blueprint.dtype, blueprint.device),
        free_bytes(blueprint.device),
        tuple(adapters),
        tuple(skipped),
        free_on_host=None if blueprint.device == HOST else free_bytes(HOST),
    )


def estimate(
    blueprint: Blueprint,
    weights: int,
    free: int,
    adapters: tuple[AdapterEstimate, ...],
    skipped_adapters: tuple[SkippedAdapter, ...] = (),
    *,
    free_on_host: int | None = None,
) -> Estimate:
    """Divide `free` bytes of the device as a start does, `weights` of them for the model.

    The host has `free_on_host` bytes beside them, or it is the device and has what is left.

    Exact where --pool-bytes is given. Otherwise the memory in use may change before the start, and
    on CUDA a start also leaves room for the step it measures. Raises ConfigError as a start.
    """
    if weights > free:
        raise ConfigError(
            f"the weights take {weights} bytes as {blueprint.dtype_name}, only {free} are free on "
            f"{blueprint.device}: choose a smaller --dtype, another --device or a smaller model"
        )
    layout = blueprint.layout
    pool = pool_bytes(blueprint.config.pool.pool_bytes, free - weights, blueprint.device)
    asked = (adapter.num_pages for adapter in adapters if not adapter.is_optional)
    largest = max(asked, default=0)
    num_pages = blueprint.num_pages(pool, largest)
    if free_on_host is None:
        free_on_host = free - weights - num_pages * layout.page_bytes
    num_host_pages = host_pages(blueprint, free_on_host, largest)
    lengths = (min(SHORT_TOKENS, blueprint.max_model_len), blueprint.max_model_len)
    return Estimate(
        model=blueprint.config.model,
        architecture=blueprint.spec.architecture,
        dtype=blueprint.dtype_name,
        device=str(blueprint.device),
        max_model_len=blueprint.max_model_len,
        free_bytes=free,
        weights_bytes=weights,
        pool_bytes=num_pages * layout.page_bytes,
        num_pages=num_pages,
        page_bytes=layout.page_bytes,
        page_tokens=layout.page_tokens,
        num_tokens=num_pages * layout.page_tokens,
        host_bytes=num_host_pages * layout.page_bytes,
        num_host_pages=num_host_pages,
        sequences=tuple(_of_length(blueprint, num_pages, n) for n in sorted({*lengths})),
        ranks=tuple(_of_rank(blueprint, num_pages, rank) for rank in RANKS),
        adapters=adapters,
        skipped_adapters=skipped_adapters,
    )


def _measure(blueprint: Blueprint, base: BaseTensors, name: str, path: str) -> AdapterEstimate:
    check_prompt_files(path)
    max_rank = blueprint.config.batch.max_lora_rank
    header = read_adapter_header(path, blueprint.geometry, max_rank, base)
    return AdapterEstimate(
        name=name,
        path=path,
        max_rank=header.max_rank,
        num_pages=blueprint.adapter_pages(header.ranks, header.rescaled),
        origin=origin_of(header, blueprint.config.model),
    )


def _of_length(blueprint: Blueprint, num_pages: int, num_tokens: int) -> SequenceEstimate:
    fitting = num_pages // -(-num_tokens // blueprint.layout.page_tokens)
    return SequenceEstimate(num_tokens, min(fitting, blueprint.config.batch.max_batch_rows))


def _of_rank(blueprint: Blueprint, num_pages: int, rank: int) -> RankEstimate:
    adapter_pages = blueprint.uniform_adapter_pages(rank)
    return RankEstimate(rank, adapter_pages, num_pages // adapter_pages)
