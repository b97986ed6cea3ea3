"""Shows what fits, for people or for programs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import msgspec

from motet.commands.table import print_pairs
from motet.engine.config import EngineConfig
from motet.engine.start.estimate import Estimate, plan
from motet.formats import adapter_notes

UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def show_plan(config: EngineConfig, *, as_json: bool) -> None:
    """Print the plan of an engine. Raises ConfigError for what cannot be served."""
    estimate = plan(config)
    notes = adapter_notes(config, {adapter.name: adapter.path for adapter in estimate.adapters})
    if as_json:
        content = asdict(estimate) | {"adapter_notes": notes}
        print(msgspec.json.format(msgspec.json.encode(content)).decode())
    else:
        print_pairs("what fits", list(_lines(estimate, notes)))


def _lines(plan: Estimate, notes: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    yield "model", f"{plan.model} ({plan.architecture}, {plan.dtype} on {plan.device})"
    yield "context", f"{plan.max_model_len:,} tokens"
    yield "free memory", size_text(plan.free_bytes)
    yield "weights", size_text(plan.weights_bytes)
    yield "page", f"{plan.page_tokens:,} tokens, {size_text(plan.page_bytes)}"
    yield "pool", f"{plan.num_pages:,} pages, {size_text(plan.pool_bytes)}"
    yield "room for KV", f"{plan.num_tokens:,} tokens"
    yield "host memory", f"{plan.num_host_pages:,} pages, {size_text(plan.host_bytes)}"
    for length in plan.sequences:
        count = f"{length.num_sequences:,} at once"
        yield f"sequences of {length.num_tokens:,}", count
    for rank in plan.ranks:
        count = f"{rank.num_adapters:,} at once, of {rank.adapter_pages:,} pages each"
        yield f"adapters of rank {rank.rank}", count
    for adapter in plan.adapters:
        yield f"adapter {adapter.name}", f"{adapter.num_pages:,} pages, rank {adapter.max_rank}"
        yield from (("", line) for line in (*adapter.origin.lines(), *notes[adapter.name]))
    for skipped in plan.skipped_adapters:
        yield f"refused: {skipped.name}", skipped.reason


def size_text(num_bytes: int) -> str:
    """1536 -> `1.5 KiB`."""
    value, unit = float(num_bytes), 0
    while value >= 1024 and unit + 1 < len(UNITS):
        value, unit = value / 1024, unit + 1
    return f"{value:,.1f} {UNITS[unit]}" if unit else f"{num_bytes} bytes"
