"""An adapter that is unloaded while a request runs on it: when its pages are free again."""

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from motet.bench.tiers.adapters import write_adapters
from motet.bench.tiers.finding import Finding, PartReport, at_most
from motet.bench.tiers.server import JSON, Server, served, write_tiny_model
from motet.client.protocol import LoadAdapterRequest, Memory, UnloadAdapterRequest
from motet.errors import ServerError

GOAL_MS = 1000
RANK = 64
POLL_S, GIVE_UP_S = 0.002, 10.0


@dataclass(frozen=True, slots=True)
class Sizes:
    num_rounds: int = 20
    num_tokens: int = 400
    """Of the answer during which it is unloaded: many, so that it does not end before."""


FULL, SHORT = Sizes(), Sizes(num_rounds=5)


def measure(sizes: Sizes, directory: Path) -> PartReport:
    model, adapters = directory / "model", directory / "adapters"
    modules = write_tiny_model(model)
    [name] = write_adapters(
        adapters, modules, torch.float32, num_adapters=1, num_distinct=1, rank=RANK
    )
    with served(model, "--adapter-dir", str(adapters)) as server:
        server.post("/v1/unload_lora_adapter", UnloadAdapterRequest(lora_name=name))
        rounds = [_free_after_ms(server, name, sizes.num_tokens) for _ in range(sizes.num_rounds)]
    longest = at_most("until both tiers are as before, longest", max(rounds), GOAL_MS, "ms")
    usual = Finding("the same, median", f"{median(rounds):.2f} ms")
    title = f"unloaded during a request, from its end on ({sizes.num_rounds} rounds)"
    return PartReport(title, [longest, usual])


def _free_after_ms(server: Server, name: str, num_tokens: int) -> float:
    before = _free(server)
    wish = LoadAdapterRequest(lora_name=name, lora_path=name)
    server.post("/v1/load_lora_adapter", wish)
    body = {
        "model": name,
        "prompt": [1, 2, 3],
        "max_tokens": num_tokens,
        "ignore_eos": True,
        "stream": True,
    }
    with server.http.stream("POST", "/v1/completions", json=body, headers=JSON) as answer:
        pieces = answer.iter_bytes()
        next(pieces)
        server.post("/v1/unload_lora_adapter", UnloadAdapterRequest(lora_name=name))
        if server.read("/v1/memory", Memory).adapters.leaving != 1:
            raise ServerError("the request ended before its adapter was unloaded: give more tokens")
        for _ in pieces:
            pass
        end_s = time.perf_counter()
    while _free(server) != before:
        if time.perf_counter() > end_s + GIVE_UP_S:
            raise ServerError(f"pages are in use {GIVE_UP_S:g} s after the last request has ended")
        time.sleep(POLL_S)
    return 1000 * (time.perf_counter() - end_s)


def _free(server: Server) -> tuple[int, int]:
    memory = server.read("/v1/memory", Memory)
    return memory.pages.free, memory.host.free
