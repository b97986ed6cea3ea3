"""Checks every token and score of a storm against the token-hash model without a pool."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

from motet.engine.core import EngineCore
from motet.engine.fake.executor import FakeExecutor
from motet.engine.fake.link import Fault, LinkCost, VirtualLink
from motet.engine.fake.token_hash import expected_prompt_logprobs, expected_tokens
from motet.engine.fake.virtual import VirtualEngine
from motet.engine.inbox import Inbox
from motet.engine.output import FinishReason, TokenLogprobs, TokenOutput
from motet.engine.request import Request
from motet.engine.scheduler import Scheduler
from tests.engine.factories import (
    PAGE_TOKENS,
    VOCAB_SIZE,
    a_request,
    a_scheduler,
    an_adapter,
    an_executor,
    an_info,
)
from tests.engine.storm import Storm, StormPolicy

ADAPTERS = [an_adapter(f"a{i}", num_pages=1 + i % 5) for i in range(24)]


NOT_ANSWERED = (FinishReason.ABORT, FinishReason.ERROR)
"""Given up by the client, or because its adapter did not come."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is right for one request."""

    tokens: Iterator[int]
    prompt_logprobs: tuple[TokenLogprobs, ...]


@dataclass(slots=True)
class Oracle:
    """Knows the right answer to every request; counts right and wrong tokens and scores."""

    expected: dict[str, Answer] = field(default_factory=dict)
    num_right: int = 0
    num_right_scores: int = 0
    num_wrong: int = 0

    def watch(self, requests: Iterator[Request]) -> Iterator[Request]:
        for request in requests:
            self.expected[request.request_id] = _answer(request)
            yield request

    def hear(self, output: TokenOutput) -> None:
        expected = self.expected[output.request_id]
        if output.token_id is not None:
            is_right = output.token_id == next(expected.tokens)
            self.num_right += is_right
            self.num_wrong += not is_right
        if output.index == 0 and output.finish_reason not in NOT_ANSWERED:
            is_right = output.prompt_logprobs == expected.prompt_logprobs
            self.num_right_scores += len(output.prompt_logprobs) * is_right
            self.num_wrong += not is_right
        if output.finish_reason is not None:
            del self.expected[output.request_id]


def _answer(request: Request) -> Answer:
    sampling, adapter = request.sampling, request.adapter
    digest, num_pages = (adapter.digest, adapter.num_pages) if adapter else (None, 0)
    what = (request.prompt, digest, num_pages, PAGE_TOKENS, VOCAB_SIZE)
    num_logprobs = sampling.num_prompt_logprobs
    return Answer(
        expected_tokens(*what, has_penalties=sampling.has_penalties),
        () if num_logprobs is None else expected_prompt_logprobs(*what, num_logprobs),
    )


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
            max_tokens=rng.choice([0, *range(1, 40)]),
            adapter=adapter,
            request_id=f"storm-{number}",
            stop_token_ids=tuple(rng.sample(range(VOCAB_SIZE), 3)),
            cache_salt=rng.choice(["", "", "", "tenant"]),
            presence_penalty=rng.choice([0.0, 0.0, 0.5]),
            num_prompt_logprobs=rng.choice([None, None, None, None, 0, 2]),
        )


FAULTY = {
    Fault.SLOW: 0.11,
    Fault.FAILED: 0.11,
    Fault.LOST: 0.13,
    Fault.LATE: 0.16,
    Fault.DOUBLE: 0.2,
}
"""Probability of each fault of a copy."""


def a_faulty_link(seed: int, rng: random.Random) -> VirtualLink:
    cost = LinkCost(latency_s=0.01 * (seed % 3), page_s=0.005 * (seed % 4))
    return VirtualLink(cost, FAULTY, rng)


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
    inbox, link = Inbox(), a_faulty_link(seed, rng)
    executor = an_executor(scheduler, inbox, link)
    if sabotage is not None:
        sabotage(scheduler, executor, rng)
    oracle = Oracle()
    requests = oracle.watch(storm_requests(rng))
    engine = VirtualEngine(EngineCore(an_info(), scheduler, executor, inbox), executor)
    storm = Storm(engine, rng, requests, oracle.hear, is_checked=is_checked)
    while oracle.num_right < num_tokens and not oracle.num_wrong:
        storm.turn()
    if sabotage is None:
        storm.finish()
        storm.forced |= {f"{fault} copy": number for fault, number in link.num_faults.items()}
        storm.forced["cancelled copy"] = scheduler.memory.copies.counters.cancelled
    return oracle, storm
