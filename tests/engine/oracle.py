"""Checks every token and score of a storm against the token-hash model without a pool."""

import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from motet.engine.core import EngineCore
from motet.engine.fake.executor import FakeExecutor
from motet.engine.fake.lines import Lines
from motet.engine.fake.link import Fault, LinkCost, VirtualLink
from motet.engine.fake.token_hash import expected_prompt_logprobs, expected_tokens
from motet.engine.fake.virtual import VirtualEngine
from motet.engine.inbox import Inbox
from motet.engine.output import FinishReason, TokenLogprobs, TokenOutput
from motet.engine.request import Request
from motet.engine.scheduler import Scheduler
from motet.memory.adapter import Adapter
from motet.memory.costs import Costs
from tests.engine.adapter_storm import AdapterStorm
from tests.engine.agent_storm import AgentStorm
from tests.engine.factories import (
    PAGE_TOKENS,
    VOCAB_SIZE,
    a_request,
    a_scheduler,
    an_executor,
    an_info,
)
from tests.engine.storm import Storm, StormPolicy

NAMES = [f"a{i}" for i in range(64)]

NUM_HOST_PAGES = 140
"""More than on the device, far less than what is in use."""


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

    adapters: AdapterStorm
    requests: dict[str, Request] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    num_right: int = 0
    num_right_scores: int = 0
    num_wrong: int = 0

    def watch(self, requests: Iterator[Request]) -> Iterator[Request]:
        for request in requests:
            self.requests[request.request_id] = request
            yield request

    def hear(self, output: TokenOutput) -> None:
        request = self.requests[output.request_id]
        if output.index == 0 and output.finish_reason not in NOT_ANSWERED:
            answer = self.answers[output.request_id] = self._answer(request, output.adapter_digest)
            is_right = output.prompt_logprobs == answer.prompt_logprobs
            self.num_right_scores += len(output.prompt_logprobs) * is_right
            self.num_wrong += not is_right
        if output.token_id is not None:
            is_right = output.token_id == next(self.answers[output.request_id].tokens)
            self.num_right += is_right
            self.num_wrong += not is_right
        if output.finish_reason is not None:
            del self.requests[output.request_id]
            self.answers.pop(output.request_id, None)

    def _answer(self, request: Request, digest: str | None) -> Answer:
        """What is right on the content that the request says it runs on, if it is the right one."""
        sampling, adapter = request.sampling, request.adapter
        if adapter is None:
            self.num_wrong += digest is not None
        else:
            known = self.adapters.digests.get((adapter.name, adapter.generation))
            self.num_wrong += digest is None or known not in (None, digest)
        num_pages = self.adapters.sizes[digest] if digest else 0
        what = (request.prompt, digest, num_pages, PAGE_TOKENS, VOCAB_SIZE)
        num_logprobs = sampling.num_prompt_logprobs
        return Answer(
            expected_tokens(*what, has_penalties=sampling.has_penalties),
            () if num_logprobs is None else expected_prompt_logprobs(*what, num_logprobs),
        )


def storm_requests(
    rng: random.Random, names: list[str], adapters: Mapping[str, Adapter]
) -> Iterator[Request]:
    """Prompts that share beginnings or go on from earlier ones, on base and adapters, a few of them
    much in demand. `adapters` are what names mean when the next one is asked for."""
    sessions: deque[tuple[tuple[int, ...], str | None, str]] = deque(maxlen=40)
    tail = tuple(rng.randrange(VOCAB_SIZE) for _ in range(20))
    documents = [(*rng.choices(range(VOCAB_SIZE), k=PAGE_TOKENS), *tail) for _ in range(3)]
    for number in count():
        shared = rng.choice(documents)[: rng.randrange(25)]
        own = tuple(rng.randrange(VOCAB_SIZE) for _ in range(rng.randrange(1, 12)))
        name, salt = rng.choice([None, *names, *names[:3] * 16]), rng.choice(["", "", "", "tenant"])
        prompt = (*shared, *own)
        if sessions and rng.random() < 0.4:
            before, name, salt = rng.choice(sessions)
            prompt = (*before, *own)
        if len(prompt) < 100:
            sessions.append((prompt, name, salt))
        yield a_request(
            prompt,
            max_tokens=rng.choice([0, *range(1, 40)]),
            adapter=adapters.get(name) if name else None,
            request_id=f"storm-{number}",
            stop_token_ids=tuple(rng.sample(range(VOCAB_SIZE), 3)),
            cache_salt=salt,
            presence_penalty=rng.choice([0.0, 0.0, 0.5]),
            num_prompt_logprobs=rng.choice([None, None, None, None, 0, 2]),
        )


FAULTY = {
    Fault.SLOW: 0.04,
    Fault.FAILED: 0.04,
    Fault.LOST: 0.04,
    Fault.LATE: 0.03,
    Fault.DOUBLE: 0.05,
}
"""Probability of each fault of a copy."""


def faulty_lines(seed: int, rng: random.Random) -> Lines:
    cost = LinkCost(latency_s=0.01 * (seed % 3), page_s=0.005 * (seed % 4))
    return Lines(*(VirtualLink(cost, FAULTY, rng) for _ in range(3)))


Sabotage = Callable[[Scheduler, FakeExecutor, random.Random], None]


def run_storm(
    seed: int,
    num_tokens: int,
    sabotage: Sabotage | None = None,
    is_checked: bool = True,
    *,
    has_agents: bool = False,
    eviction: str = "lru",
    prefetches: bool = True,
) -> tuple[Oracle, Storm]:
    """Serve until so many tokens have come out (or, sabotaged, until one is wrong)."""
    rng = random.Random(seed)
    scheduler = a_scheduler(
        num_pages=80,
        max_batch_tokens=24,
        max_batch_rows=12,
        max_batch_adapters=5,
        policy=StormPolicy(rng),
        num_host_pages=NUM_HOST_PAGES,
        costs=Costs(),
        eviction=eviction,
        prefetches=prefetches,
    )
    inbox, lines = Inbox(), faulty_lines(seed, rng)
    executor = an_executor(scheduler, inbox, lines)
    if sabotage is not None:
        sabotage(scheduler, executor, rng)
    adapters = AdapterStorm(scheduler, executor.disk, rng, NAMES)
    oracle = Oracle(adapters)
    agents = AgentStorm(scheduler, rng, adapters.current, NAMES[:24]) if has_agents else None
    requests = agents.requests() if agents else storm_requests(rng, NAMES, adapters.current)
    engine = VirtualEngine(EngineCore(an_info(), scheduler, executor, inbox), executor)
    storm = Storm(
        engine,
        rng,
        oracle.watch(requests),
        oracle.hear,
        adapters,
        agents,
        is_checked=is_checked,
    )
    adapters.start()
    if agents is not None:
        agents.start()
    while oracle.num_right < num_tokens and not oracle.num_wrong:
        storm.turn()
    if sabotage is None:
        storm.finish()
        for line in lines:
            storm.forced.update({f"{f} copy": number for f, number in line.num_faults.items()})
        storm.forced.update(adapters.forced)
        storm.forced.update(agents.forced if agents else {})
        storm.forced["cancelled copy"] = scheduler.memory.copies.counters.cancelled
        assert not adapters.unanswered
    return oracle, storm
