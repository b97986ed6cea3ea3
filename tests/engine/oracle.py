"""Checks every token of a storm against the token-hash model without a pool."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

from motet.engine.fake import FakeExecutor, expected_tokens
from motet.engine.output import TokenOutput
from motet.engine.request import Request
from motet.engine.scheduler import Scheduler
from tests.engine.factories import (
    PAGE_TOKENS,
    VOCAB_SIZE,
    a_request,
    a_scheduler,
    an_adapter,
    an_executor,
)
from tests.engine.storm import Storm, StormPolicy

ADAPTERS = [an_adapter(f"a{i}", num_pages=1 + i % 5) for i in range(24)]


@dataclass(slots=True)
class Oracle:
    """Knows the right tokens of every request; counts right and wrong ones."""

    expected: dict[str, Iterator[int]] = field(default_factory=dict)
    num_right: int = 0
    num_wrong: int = 0

    def watch(self, requests: Iterator[Request]) -> Iterator[Request]:
        for request in requests:
            digest, num_pages = (
                (request.adapter.digest, request.adapter.num_pages)
                if request.adapter
                else (None, 0)
            )
            self.expected[request.request_id] = expected_tokens(
                request.prompt, digest, num_pages, PAGE_TOKENS, VOCAB_SIZE
            )
            yield request

    def hear(self, output: TokenOutput) -> None:
        if output.token_id is not None:
            is_right = output.token_id == next(self.expected[output.request_id])
            self.num_right += is_right
            self.num_wrong += not is_right
        if output.finish_reason is not None:
            del self.expected[output.request_id]


def storm_requests(rng: random.Random) -> Iterator[Request]:
    """Prompts that share beginnings, on base and adapters, a few of them much in demand."""
    tail = tuple(rng.randrange(VOCAB_SIZE) for _ in range(20))
    documents = [(*rng.choices(range(VOCAB_SIZE), k=PAGE_TOKENS), *tail) for _ in range(3)]
    for number in count():
        shared = rng.choice(documents)[: rng.randrange(25)]
        own = tuple(rng.randrange(VOCAB_SIZE) for _ in range(rng.randrange(1, 12)))
        adapter = rng.choice([None, *ADAPTERS, *ADAPTERS[:3] * 16])
        yield a_request(
            (*shared, *own),
            max_tokens=rng.randrange(1, 40),
            adapter=adapter,
            request_id=f"storm-{number}",
            stop_token_ids=tuple(rng.sample(range(VOCAB_SIZE), 3)),
            cache_salt=rng.choice(["", "", "", "tenant"]),
        )


Sabotage = Callable[[Scheduler, FakeExecutor, random.Random], None]


def run_storm(
    seed: int, num_tokens: int, sabotage: Sabotage | None = None, is_checked: bool = True
) -> tuple[Oracle, Storm]:
    """Serve until so many tokens have come out (or, sabotaged, until one is wrong)."""
    rng = random.Random(seed)
    scheduler = a_scheduler(
        num_pages=80,
        max_batch_tokens=24,
        max_batch_rows=12,
        max_batch_adapters=5,
        adapters=ADAPTERS,
        policy=StormPolicy(rng),
    )
    executor = an_executor(scheduler, load_steps=seed % 3)
    if sabotage is not None:
        sabotage(scheduler, executor, rng)
    oracle = Oracle()
    requests = oracle.watch(storm_requests(rng))
    storm = Storm(scheduler, executor, rng, requests, oracle.hear, is_checked=is_checked)
    while oracle.num_right < num_tokens and not oracle.num_wrong:
        storm.turn()
    if sabotage is None:
        storm.finish()
    return oracle, storm
