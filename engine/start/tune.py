"""Measures what copying and computing take, through the very parts that serve."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import linear_regression

from motet.engine.config import EngineConfig
from motet.engine.device.local import LocalExecutor
from motet.engine.inbox import Inbox
from motet.engine.models import load_model
from motet.engine.plan import BASE_SLOT, Batch, Row
from motet.engine.request import SamplingParams
from motet.engine.start.adapters import stager_of
from motet.engine.start.blueprint import Blueprint, blueprint_of
from motet.engine.start.costs import Rates, Setting, keep_rates, setting_of
from motet.engine.start.executor import make_executor
from motet.engine.start.identity import identify
from motet.engine.start.kernels import prepare_kernels
from motet.engine.start.threads import set_threads
from motet.memory.copy import Copy, CopyEnded, Direction, PagePair, Ticket, Transfers
from motet.memory.page import PageId

COPIED_BYTES = (2**18, 2**20, 2**22, 2**24, 2**26)
"""Of the copies that are timed; at least a page each."""

PROMPT_TOKENS = (16, 64, 256, 1024, 4096)
"""Of the prompts that are timed, as far as the limits go, and until one takes `LONG_S`."""

LONG_S = 2.0

REPEATS = 5
"""The fastest counts: nothing makes a copy faster than it is."""

COPY_TIMEOUT_S = 60.0

Progress = Callable[[str, int, int], None]
"""As that of `build`; the stages are also "copies" and "prompts"."""


@dataclass(frozen=True, slots=True)
class TimedCopy:
    """Seconds of the fastest copy of one size, in each direction."""

    num_bytes: int
    seconds: dict[Direction, float]


@dataclass(frozen=True, slots=True)
class TimedPrompt:
    num_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was measured, and what follows from it."""

    setting: Setting
    copies: tuple[TimedCopy, ...]
    prompts: tuple[TimedPrompt, ...]

    @property
    def rates(self) -> Rates:
        sizes = [copy.num_bytes for copy in self.copies]
        lines = [
            _line(sizes, [copy.seconds[direction] for copy in self.copies])
            for direction in Direction
        ]
        tokens = [prompt.num_tokens for prompt in self.prompts]
        return Rates(
            copy_bytes_per_s=1 / max(line.slope for line in lines),
            copy_latency_s=max(line.start for line in lines),
            token_s=_line(tokens, [prompt.seconds for prompt in self.prompts]).slope,
        )

    def keep(self) -> Path:
        """For the engines that start from now on. Raises ConfigError."""
        return keep_rates(self.setting, self.rates)


def tune(config: EngineConfig, progress: Progress) -> Tuning:
    """Load the model alone and measure. Raises ConfigError as a start."""
    blueprint = blueprint_of(config)
    if blueprint.device.type == "cpu":
        set_threads(config.model_config.threads)
    is_deterministic = config.model_config.deterministic
    kernels = prepare_kernels(
        blueprint.device, partial(progress, "kernels"), is_deterministic=is_deterministic
    )
    base_model_id, inbox = identify(config.model), Inbox()
    model = load_model(
        blueprint.spec,
        blueprint.dtype,
        blueprint.device,
        blueprint.max_model_len,
        partial(progress, "weights"),
        is_deterministic=is_deterministic,
    )
    counts, lengths = _page_counts(blueprint), _prompt_lengths(blueprint)
    num_pages = max(counts[-1], -(-lengths[-1] // blueprint.layout.page_tokens))
    executor = make_executor(
        blueprint, model, kernels, stager_of(blueprint, base_model_id), num_pages, counts[-1], inbox
    )
    return Tuning(
        setting_of(blueprint, base_model_id),
        tuple(_copies(blueprint, executor, inbox, counts, partial(progress, "copies"))),
        tuple(_prompts(blueprint, executor, lengths, partial(progress, "prompts"))),
    )


def _page_counts(blueprint: Blueprint) -> list[int]:
    page_bytes = blueprint.layout.page_bytes
    counts = {max(1, num_bytes // page_bytes) for num_bytes in COPIED_BYTES}
    return sorted(counts | {2 * max(counts)})  # one size alone shows no rate


def _prompt_lengths(blueprint: Blueprint) -> list[int]:
    most = min(blueprint.max_model_len, blueprint.config.batch.max_batch_tokens)
    return sorted({min(length, most) for length in (most // 2 or 1, *PROMPT_TOKENS)})


def _copies(
    blueprint: Blueprint,
    executor: LocalExecutor,
    inbox: Inbox,
    counts: Sequence[int],
    progress: Callable[[int, int], None],
) -> Iterator[TimedCopy]:
    ticket = 0

    def timed(direction: Direction, num_pages: int) -> float:
        nonlocal ticket
        ticket += 1
        pairs = tuple(PagePair(PageId(page), PageId(page)) for page in range(num_pages))
        copy = Copy(Ticket(ticket), direction, pairs)
        begun_s = time.perf_counter()
        executor.begin(Transfers(copies=(copy,)))
        [ended] = inbox.take(COPY_TIMEOUT_S)
        assert ended == CopyEnded(copy.ticket, num_pages), f"a copy came to {ended}"
        return time.perf_counter() - begun_s

    for direction in reversed(Direction):  # the pages are touched for the first time
        timed(direction, counts[-1])
    for done, num_pages in enumerate(counts, start=1):
        seconds = {
            direction: min(timed(direction, num_pages) for _ in range(REPEATS))
            for direction in Direction
        }
        yield TimedCopy(num_pages * blueprint.layout.page_bytes, seconds)
        progress(done, len(counts))


def _prompts(
    blueprint: Blueprint,
    executor: LocalExecutor,
    lengths: Sequence[int],
    progress: Callable[[int, int], None],
) -> Iterator[TimedPrompt]:
    executor.execute(_a_prompt(blueprint, lengths[0]))  # what happens once happens now
    for done, num_tokens in enumerate(lengths, start=1):
        batch = _a_prompt(blueprint, num_tokens)
        times: list[float] = []
        while len(times) < REPEATS and sum(times) < LONG_S:
            begun_s = time.perf_counter()
            executor.execute(batch)
            times.append(time.perf_counter() - begun_s)
        yield TimedPrompt(num_tokens, min(times))
        is_last = done > 1 and min(times) >= LONG_S
        progress(len(lengths) if is_last else done, len(lengths))
        if is_last:
            return


def _a_prompt(blueprint: Blueprint, num_tokens: int) -> Batch:
    num_pages = -(-num_tokens // blueprint.layout.page_tokens)
    row = Row(
        request_id="tune",
        tokens=(0,) * num_tokens,
        start=0,
        pages=tuple(map(PageId, range(num_pages))),
        slot=BASE_SLOT,
        sampling=SamplingParams(max_tokens=1, temperature=0),
        num_generated=0,
    )
    return Batch(step=1, rows=(row,), adapters=())


@dataclass(frozen=True, slots=True)
class _Line:
    """y = start + slope * x, neither below what is possible."""

    start: float
    slope: float


def _line(x: Sequence[int], y: Sequence[float]) -> _Line:
    """As steep as all points together, or the last alone where they do not rise; it starts where
    the first one shows it, which the others, being larger, hide."""
    slope = linear_regression(x, y).slope if len(x) > 1 else 0.0
    if slope <= 0:
        slope = y[-1] / x[-1]
    return _Line(max(0.0, y[0] - slope * x[0]), slope)
