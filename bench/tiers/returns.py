"""A session that comes back when its KV has left the device: brought from the host, against
computed again, which is what an engine without a host tier does."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from statistics import median

import numpy as np

from motet.bench.tiers.finding import Finding, PartReport
from motet.bench.tiers.model import LargeModel
from motet.engine.config import PoolConfig
from motet.engine.core import EngineCore
from motet.engine.messages import Arrived
from motet.engine.output import TokenOutput
from motet.engine.request import Request, SamplingParams

LONG_GOAL, LONG_TOKENS = 0.35, 2000
GOAL = 1.02
"""At any other length: not slower, as far as it can be told apart."""

NEW_TOKENS = 16
"""Of the session when it comes back."""

PAGE_TOKENS = 16
HOST_PAGES = 512


@dataclass(frozen=True, slots=True)
class Sizes:
    lengths: tuple[int, ...] = (16, 64, 256, 1000, LONG_TOKENS)
    num_rounds: int = 5


FULL, SHORT = Sizes(), Sizes(lengths=(64, LONG_TOKENS), num_rounds=2)


@dataclass(frozen=True, slots=True)
class Return:
    """What came of a prompt."""

    ttft_s: float
    num_cached: int
    """Tokens of the prompt that were not computed."""
    num_restored: int
    """Pages that came from the host."""


def measure(sizes: Sizes, directory: Path, shape: str, dtype: str, threads: int) -> PartReport:
    longest = max(map(_num_positions, sizes.lengths))
    model = LargeModel(directory / "model", shape, dtype, threads, longest)
    model.write()
    return PartReport(
        f"a session returns after it was evicted to the host ({model})",
        [_measure(length, sizes.num_rounds, model) for length in sizes.lengths],
        [
            f"medians of {sizes.num_rounds} rounds, in turns; {NEW_TOKENS} new tokens; the device "
            "has room for one session; no throttle on copies"
        ],
    )


def _measure(length: int, num_rounds: int, model: LargeModel) -> Finding:
    """Two engines with room for one session, which another one evicts. The engine without a host
    has always lost it: nothing is left there of a text that was never sent before."""
    model = replace(model, max_model_len=_num_positions(length))
    layout, vocab_size = model.blueprint.layout, model.blueprint.spec.num_token_ids
    pool_bytes = -(-model.max_model_len // layout.page_tokens) * layout.page_bytes
    host_bytes = HOST_PAGES * layout.page_bytes
    tiered = Driver(model.engine(PoolConfig(pool_bytes=pool_bytes, host_bytes=host_bytes)))
    bare = Driver(model.engine(PoolConfig(pool_bytes=pool_bytes, host_bytes=0)))
    rng = np.random.default_rng(length)
    pairs = []
    for number in range(1 + num_rounds):
        sizes = length, NEW_TOKENS, model.max_model_len - 1
        session, more, other = (rng.integers(vocab_size, size=size).tolist() for size in sizes)
        tiered.answer(session)
        tiered.answer(other)
        order = (tiered, bare) if number % 2 else (bare, tiered)  # neither is always first
        found = {driver: driver.answer([*session, *more]) for driver in order}
        assert found[bare].num_cached == 0, "without a host there is nothing to come back to"
        if number:  # the first is a warm-up
            pairs.append((found[tiered], found[bare]))
    return _finding(length, pairs)


def _num_positions(length: int) -> int:
    """Of a session that returns, up to a whole page of the usual size."""
    return -(-(length + NEW_TOKENS + 1) // PAGE_TOKENS) * PAGE_TOKENS


def _finding(length: int, pairs: Sequence[tuple[Return, Return]]) -> Finding:
    ratio = median(tiered.ttft_s / bare.ttft_s for tiered, bare in pairs)
    tiered_ms, bare_ms = (
        1000 * median(side.ttft_s for side in s) for s in zip(*pairs, strict=True)
    )
    cached = median(tiered.num_cached for tiered, _ in pairs)
    restored = median(tiered.num_restored for tiered, _ in pairs)
    goal = LONG_GOAL if length >= LONG_TOKENS else GOAL
    return Finding(
        f"TTFT, prefix of {length:,} tokens ({cached:.0f} cached, {restored:.0f} pages copied)",
        f"{tiered_ms:.1f} ms",
        f"{bare_ms:.1f} ms",
        f"{ratio:.3f} x",
        f"<= {goal} x",
        ratio <= goal,
    )


class Driver:
    """Turns one engine, which has nothing else to do."""

    def __init__(self, core: EngineCore) -> None:
        self._core = core
        self._ids = count()

    def answer(self, prompt: Sequence[int]) -> Return:
        """The first and only token. Then whatever can be done in idle time is done."""
        request = Request(f"{next(self._ids)}", tuple(prompt), SamplingParams(1, temperature=0))
        scheduler = self._core.scheduler
        num_before = scheduler.stats().restored_kv_pages
        start_s = time.monotonic()
        self._core.inbox.put(Arrived(request, start_s))
        outputs: tuple[TokenOutput, ...] = ()
        while not outputs:
            outputs = self._turn()
        ttft_s = time.monotonic() - start_s
        [output] = outputs
        assert output.error is None, output.error
        while scheduler.has_work:
            self._turn()
        num_restored = scheduler.stats().restored_kv_pages - num_before
        return Return(ttft_s, output.num_cached_tokens, num_restored)

    def _turn(self) -> tuple[TokenOutput, ...]:
        now = time.monotonic()
        return self._core.turn(self._core.take(now), now).outputs
