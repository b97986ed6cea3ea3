"""The load bench: a closed loop of clients against a running server."""

import asyncio
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import cycle
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from motet.bench.config import LoadConfig
from motet.bench.report import RequestRecord, summarize
from motet.client.client import Client, Model
from motet.client.protocol import CompletionRequest, StreamOptions
from motet.errors import ConfigError, ServerError

MAX_SHOWN_ERRORS = 10


def bench_serve(config: LoadConfig, models: Sequence[str], json_file: Path | None) -> int:
    """Run the load, print the report, write it to `json_file`; return how many requests failed.

    Raises ConfigError when the run cannot start.
    """
    if json_file is not None:
        _check_writable(json_file)  # now, not after an hour
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("requests", total=config.num_prompts)
        run = asyncio.run(run_load(config, models, lambda: progress.advance(task)))
    report = summarize(run.records, duration_s=run.duration_s, concurrency=config.concurrency)
    print(report.block())
    if run.simulated_link_gbps is not None:
        print(f"simulated link of {run.simulated_link_gbps:g} Gbit/s each way")
    errors = [record.error for record in run.records if record.error is not None]
    for error in errors[:MAX_SHOWN_ERRORS]:
        print(f"failed: {error}", file=sys.stderr)
    if json_file is not None:
        public = replace(config, api_key=None)
        result = {"config": asdict(public), "models": run.models, **asdict(report)}
        if run.simulated_link_gbps is not None:
            result["simulated_link_gbps"] = run.simulated_link_gbps
        result["requests"] = [asdict(record) for record in run.records]
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    return len(errors)


@dataclass(frozen=True, slots=True)
class LoadRun:
    """What happened: one record per request, in the order sent."""

    models: tuple[str, ...]
    records: tuple[RequestRecord, ...]
    duration_s: float
    simulated_link_gbps: float | None
    """Of the server."""


async def run_load(
    config: LoadConfig, models: Sequence[str], on_done: Callable[[], None]
) -> LoadRun:
    """Send all requests, `config.concurrency` at a time; `on_done` is called after each.

    Without `models`, all go to the server's base model. Raises ConfigError when the server cannot
    be reached or does not have a model; a request that fails later is part of the result.
    """
    async with Client(config.base_url, api_key=config.api_key) as client:
        served = await _served_models(client)
        names = tuple(models) or (served[0].id,)
        requests = list(_requests(config, names, _vocab_size(config, names, served)))
        records: list[RequestRecord | None] = [None] * len(requests)
        queue = iter(enumerate(requests))

        async def keep_sending() -> None:
            for index, request in queue:
                records[index] = await _send(client, request)
                on_done()

        start_s = time.perf_counter()
        await asyncio.gather(*(keep_sending() for _ in range(config.concurrency)))
        duration_s = time.perf_counter() - start_s
    answered = tuple(record for record in records if record)
    return LoadRun(names, answered, duration_s, served[0].simulated_link_gbps)


async def _served_models(client: Client) -> list[Model]:
    try:
        served = await client.models()
    except ServerError as error:
        raise ConfigError(f"{error}: is a server running at --base-url?") from error
    if not served:
        raise ConfigError("the server has no models")
    return served


def _vocab_size(config: LoadConfig, names: Sequence[str], served: Sequence[Model]) -> int:
    sizes = {model.id: model.vocab_size for model in served}
    for name in names:
        if name not in sizes:
            raise ConfigError(f"the server has no model '{name}': it has {', '.join(sizes)}")
    vocab_size = config.vocab_size or sizes[names[0]]
    if vocab_size is None:
        raise ConfigError("the server does not tell its vocabulary: give --vocab-size")
    return vocab_size


def _requests(
    config: LoadConfig, names: Sequence[str], vocab_size: int
) -> Iterator[CompletionRequest]:
    """Equal seeds give equal requests."""
    rng = random.Random(config.seed)
    in_turn = cycle(names)
    for _ in range(config.num_prompts):
        prompt: list[int | str | list[int]] = [*rng.choices(range(vocab_size), k=config.input_len)]
        yield CompletionRequest(
            model=next(in_turn) if config.model_order == "round-robin" else rng.choice(names),
            prompt=prompt,
            max_tokens=config.output_len,
            ignore_eos=True,
            temperature=0.0,
            stream=True,
            stream_options=StreamOptions(include_usage=True),
        )


async def _send(client: Client, request: CompletionRequest) -> RequestRecord:
    start_s = time.perf_counter()
    times_s: list[float] = []
    counts = None
    try:
        async for chunk in client.stream_completion(request):
            if chunk.choices:
                times_s.append(time.perf_counter())
            counts = chunk.usage or counts
    except ServerError as error:
        return RequestRecord(request.model, start_s, error=str(error))
    if counts is None or not times_s:
        return RequestRecord(request.model, start_s, error="the answer has no tokens or no usage")
    return RequestRecord(
        request.model, start_s, tuple(times_s), counts.prompt_tokens, counts.completion_tokens
    )


def _check_writable(file: Path) -> None:
    try:
        file.open("a").close()
    except OSError as error:
        raise ConfigError(
            f"--json is '{file}', which cannot be written: {error.strerror}"
        ) from error
