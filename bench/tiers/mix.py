"""The same requests on some adapters, however many others are registered: both servers in turns."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from motet.bench.config import LoadConfig
from motet.bench.load import run_load
from motet.bench.tiers.adapters import write_adapters
from motet.bench.tiers.finding import Finding, PartReport
from motet.bench.tiers.server import Server, served, write_tiny_model
from motet.errors import ServerError

LEAST_RATIO = 0.97
RANK = 8


@dataclass(frozen=True, slots=True)
class Sizes:
    num_many: int = 2000
    num_few: int = 100
    num_used: int = 64
    num_rounds: int = 12
    num_requests: int = 512
    concurrency: int = 32
    input_len: int = 16
    output_len: int = 16


FULL, SHORT = Sizes(), Sizes(num_rounds=4, num_requests=128)


def measure(sizes: Sizes, directory: Path) -> PartReport:
    """Nobody reads an adapter that is not used, so only the others have weights of their own."""
    model = directory / "model"
    modules = write_tiny_model(model)
    for where, num_adapters in (("few", sizes.num_few), ("many", sizes.num_many)):
        names = write_adapters(
            directory / where,
            modules,
            torch.float32,
            num_adapters=num_adapters,
            num_distinct=sizes.num_used,
            rank=RANK,
        )
    used = names[: sizes.num_used]
    options = ("--pool-bytes", "128MiB", "--max-batch-adapters", str(sizes.num_used))
    with (
        served(model, "--adapter-dir", str(directory / "few"), *options) as few,
        served(model, "--adapter-dir", str(directory / "many"), *options) as many,
    ):
        for server in (few, many):  # untimed: each adapter is read
            _tokens_per_s(server, used, sizes)
        rates: dict[str, list[float]] = {few.url: [], many.url: []}
        for number in range(sizes.num_rounds):
            for server in (few, many) if number % 2 else (many, few):  # neither is always first
                rates[server.url].append(_tokens_per_s(server, used, sizes))
    of_few, of_many = rates[few.url], rates[many.url]
    ratio = median(a / b for a, b in zip(of_many, of_few, strict=True))
    rounds = f"{sizes.num_rounds} rounds of {sizes.num_requests} requests"
    finding = Finding(
        f"output tokens/s, {sizes.num_used} adapters in use",
        f"{median(of_many):,.0f}",
        f"{median(of_few):,.0f}",
        f"{ratio:.3f} x",
        f">= {LEAST_RATIO} x",
        ratio >= LEAST_RATIO,
    )
    spread = ", ".join(f"{min(r):,.0f} to {max(r):,.0f}" for r in (of_many, of_few))
    return PartReport(
        f"{sizes.num_many:,} adapters registered, against {sizes.num_few:,}",
        [finding],
        [f"medians of {rounds}, in turns; from {spread}"],
    )


def _tokens_per_s(server: Server, used: list[str], sizes: Sizes) -> float:
    config = LoadConfig(
        base_url=server.url,
        num_prompts=sizes.num_requests,
        concurrency=sizes.concurrency,
        input_len=sizes.input_len,
        output_len=sizes.output_len,
    )
    run = asyncio.run(run_load(config, used, lambda: None))
    failed = next((record.error for record in run.records if record.error), None)
    if failed:
        raise ServerError(f"a request of the mix failed: {failed}")
    return sum(record.num_output_tokens for record in run.records) / run.duration_s
