"""Agents that call again and again, and all that may be said of them: true, false or late."""

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from motet.engine.core import handle
from motet.engine.messages import (
    AgentCommand,
    Call,
    ForgetAgent,
    ListAgents,
    MoveAgent,
    PushDistances,
    RegisterAgent,
    Reply,
    TellAgent,
    TickAgents,
)
from motet.engine.output import TokenOutput
from motet.engine.request import Request
from motet.engine.scheduler import Scheduler
from motet.memory.adapter import Adapter
from motet.memory.agent import AgentCall, AgentKey, Happening, NextUse, Target, Unit, Verb
from tests.engine.factories import PAGE_TOKENS, VOCAB_SIZE, a_request

AGENT_EVENTS = (
    "push",
    "whole push",
    "stale push",
    "tick",
    *(f"{verb} an agent" for verb in Verb),
    *(f"{happening} of an agent" for happening in Happening),
    "forget an agent",
    "register an agent",
    "next turn",
    "other turn",
    "answer left behind",
)
"""What is counted."""

TENANTS = ("", "tenant")
MAX_PROMPT = 150
DISTANCES = (0.0, 1.0, 1.0, 2.0, 3.0, 5.0, 8.0, 30.0, 70.0, 300.0, 1e300, math.inf)


@dataclass(slots=True)
class Life:
    """What a client knows of its agent."""

    key: AgentKey
    adapter: str | None
    prompt: tuple[int, ...] = ()
    answer: list[int] = field(default_factory=list)


@dataclass(slots=True)
class AgentStorm:
    """Who calls, and what is said of it meanwhile."""

    scheduler: Scheduler
    rng: random.Random
    adapters: Mapping[str, Adapter]
    """What names mean now."""
    names: list[str]
    num_agents: int = 200
    probability: float = 0.5
    """Of a command in a turn."""
    forced: Counter[str] = field(default_factory=Counter)
    lives: list[Life] = field(default_factory=list)
    asking: dict[str, Life] = field(default_factory=dict)
    """Whose request it is."""
    epochs: Counter[str] = field(default_factory=Counter)
    _numbers: Iterator[int] = field(default_factory=count)
    _documents: list[tuple[int, ...]] = field(default_factory=list)

    def start(self) -> None:
        for number in range(self.num_agents):
            key = AgentKey(TENANTS[number % 3 == 0], f"agent-{number}")
            self.lives.append(Life(key, self.rng.choice([None, *self.names])))
        self._documents = [self._text(PAGE_TOKENS * 4) for _ in range(3)]

    def requests(self) -> Iterator[Request]:
        """A few agents call often, others hardly ever; some call twice at once."""
        rng = self.rng
        for number in count():
            life = rng.choice(self.lives[: rng.choice([12, 40, self.num_agents])])
            if rng.random() < 0.03:
                life.adapter = rng.choice([None, *self.names])
            life.prompt = self._next_prompt(life)
            life.answer = []
            request = a_request(
                life.prompt,
                max_tokens=rng.choice([0, *range(1, 30)]),
                adapter=self.adapters.get(life.adapter) if life.adapter else None,
                request_id=f"agents-{number}",
                cache_salt=life.key.tenant,
                stop_token_ids=tuple(rng.sample(range(VOCAB_SIZE), 3)),
                num_prompt_logprobs=rng.choice([None] * 9 + [0]),
                agent=self._call(life),
            )
            self.asking[request.request_id] = life
            yield request

    def hear(self, output: TokenOutput) -> None:
        life = self.asking.get(output.request_id)
        if life is not None and output.token_id is not None:
            life.answer.append(output.token_id)
        if output.finish_reason is not None:
            self.asking.pop(output.request_id, None)

    def turn(self) -> tuple[list[TokenOutput], list[Reply]]:
        """Perhaps something is said. What others hear meanwhile."""
        if self.rng.random() > self.probability:
            return [], []
        command, name = self._command()
        self.forced[name] += 1
        call = Call(-1 - next(self._numbers), command)
        outputs, replies = handle(self.scheduler, [call], self.scheduler.memory.time.now)
        others = [reply for reply in replies if reply.call_id != call.call_id]
        assert len(others) == len(replies) - 1, "it is answered at once"
        return outputs, others

    def _next_prompt(self, life: Life) -> tuple[int, ...]:
        rng, before = self.rng, (*life.prompt, *life.answer)
        if len(before) > MAX_PROMPT or rng.random() < 0.15:
            before = rng.choice(self._documents)[: rng.randrange(17)]
            self.forced["other turn"] += 1
        elif rng.random() < 0.2:
            before = life.prompt[: rng.randrange(len(life.prompt) + 1)]
            self.forced["answer left behind"] += 1
        else:
            self.forced["next turn"] += 1
        return (*before, *self._text(rng.randrange(1, 14)))

    def _text(self, num_tokens: int) -> tuple[int, ...]:
        return tuple(self.rng.choices(range(VOCAB_SIZE), k=num_tokens))

    def _call(self, life: Life) -> AgentCall:
        rng = self.rng
        return AgentCall(
            life.key,
            program_id=rng.choice(["", "program"]),
            next_use=rng.choice([None, self._next_use()]),
            is_final=rng.random() < 0.05,
            tool=rng.choice([None, None, "search"]),
            retain_s=rng.choice([None, None, None, 0.0, 0.5, 5.0]),
            keep_tokens=rng.choice([None, None, None, 0, 10, 1000]),
        )

    def _next_use(self) -> NextUse:
        return NextUse(self.rng.choice(DISTANCES), self.rng.choice(list(Unit)))

    def _command(self) -> tuple[AgentCommand, str]:
        rng = self.rng
        life = rng.choice(self.lives[: rng.choice([12, 40, self.num_agents])])
        match rng.choice(("push", "push", "tick", "move", "tell", "forget", "register", "list")):
            case "push":
                return self._push(life.key.tenant)
            case "tick":
                return TickAgents(life.key.tenant, rng.choice([0, 1, 1, 1, 5])), "tick"
            case "move":
                verb, target = rng.choice(list(Verb)), rng.choice(list(Target))
                ttl_s = rng.choice([None, 0.0, 0.3, 100.0])
                return MoveAgent(life.key, verb, target, ttl_s), f"{verb} an agent"
            case "tell":
                happening = rng.choice(list(Happening))
                predict_s = rng.choice([None, 0.0, 0.2, 10.0])
                command = TellAgent(life.key, happening, "search", predict_s)
                return command, f"{happening} of an agent"
            case "forget":
                return ForgetAgent(life.key), "forget an agent"
            case "register":
                known = life.adapter if life.adapter in self.adapters else None
                return RegisterAgent(life.key, known), "register an agent"
            case _:
                return ListAgents(life.key.tenant, limit=5), "list"

    def _push(self, tenant: str) -> tuple[AgentCommand, str]:
        rng = self.rng
        some = rng.sample(self.lives, rng.choice([1, 10, self.num_agents]))
        ids = [life.key.agent_id for life in some] + ["nobody"]
        distances = tuple((agent_id, rng.choice(DISTANCES)) for agent_id in ids)
        is_whole, is_stale = rng.random() < 0.2, rng.random() < 0.1
        self.epochs[tenant] += 1
        epoch = self.epochs[tenant] if not is_stale else 0
        name = "stale push" if is_stale else "whole push" if is_whole else "push"
        unit = rng.choice(list(Unit))
        return PushDistances(tenant, distances, unit, epoch, is_whole), name
