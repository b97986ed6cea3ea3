"""What agents cost: news of a thousand of a hundred thousand, and steps beside all that is known.

Run as `python -m motet.bench.agents`: ten gigabytes and two minutes with 100,000 agents of 94 pages
each, `--agents 10000` for a tenth of both. The goals are 2 ms for news of one in a hundred of them,
and 1 ms for plan and handle together at 256 rows of agents with copies ahead under way.
"""

import gc
import random
import time
from dataclasses import dataclass, field
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from motet.bench.step import ADAPTERS, MAX_MODEL_LEN, NUM_ADAPTERS, ON_DISK, result_of
from motet.engine.agent_commands import AgentCommands
from motet.engine.config import BatchConfig
from motet.engine.core import handle
from motet.engine.messages import Arrived, Call, Message, PushDistances, StepFinished, TickAgents
from motet.engine.recording import SchedulerSpec
from motet.engine.request import Request, SamplingParams
from motet.engine.scheduler import Scheduler
from motet.memory.agent import AgentCall, AgentKey
from motet.memory.copy import CopyEnded, ReadEnded
from motet.memory.costs import Costs
from motet.memory.eviction import eviction_policy
from motet.memory.manager import MemoryConfig, MemoryManager

PAGES_PER_AGENT = 94
NUM_PUSHES = 100
STEPS_BETWEEN_TICKS = 4
MOST_STEPS = 60
"""Of distances that are told."""

NUM_ROWS = 256
NUM_KNOWN = 4_000
"""Agents that have called before and whose state has left the device, for the most part."""
NUM_PUSHED = (0, 10, 100)
"""In each step."""
NUM_STEPS = 300
PAGE_TOKENS = 64
ROW_TOKENS, KNOWN_TOKENS = 1000, 1280
NUM_PAGES, NUM_HOST_PAGES = 50_000, 120_000
STEP_S = 0.02
COSTS = Costs(page_copy_s=1.7e-4, token_s=3e-5)
"""Of pages of 8 MiB at 50 GB/s, and an 8B model."""

console = Console()


def main(
    agents: Annotated[int, typer.Option(help="Agents of whom some have news.")] = 100_000,
) -> None:
    gc.disable()
    steps = _running()
    for num_pushed in NUM_PUSHED:
        _print_steps(steps, num_pushed)
    del steps
    _print_pushes(agents)


def _print_pushes(num_agents: int) -> None:
    memory = _with_agents(num_agents)
    commands, rng = AgentCommands(memory), random.Random(0)
    took_ms: list[float] = []
    for number in range(NUM_PUSHES):
        if number % STEPS_BETWEEN_TICKS == 0:
            commands.reply(0, TickAgents(""))
        named = rng.sample(range(num_agents), max(1, num_agents // 100))
        push = _push(named, rng)
        began_s = time.perf_counter()
        commands.reply(0, push)
        took_ms.append(1000 * (time.perf_counter() - began_s))
    took_ms.sort()
    console.print(
        f"{num_agents:,} agents of {PAGES_PER_AGENT} pages, news of one in a hundred: "
        f"{median(took_ms):.2f} ms, at most {took_ms[-1]:.2f} ms (of {NUM_PUSHES})"
    )


def _with_agents(num_agents: int) -> MemoryManager:
    """Each has called once, and all of its pages are idle on the device."""
    config = MemoryConfig(
        num_pages=num_agents * PAGES_PER_AGENT, page_tokens=1, base_model="base", num_host_pages=0
    )
    memory = MemoryManager(config, eviction_policy("distance_cost"))
    namespace = memory.namespace(None, "")
    for number in track(range(num_agents), "agents call", console=console, transient=True):
        call = AgentCall(AgentKey("", f"agent-{number}"))
        agent = memory.agents.call(call, None, None)
        tokens = (number, *range(PAGES_PER_AGENT - 1))
        table = memory.kv.open(namespace, [], (0.0, number))
        memory.kv.grow(table, len(tokens))
        memory.kv.seal(table, tokens, len(tokens))
        memory.agents.rest(agent, call, table.nodes)
        memory.kv.close(table)
        memory.agents.end(agent, call)
    return memory


def _push(named: list[int], rng: random.Random) -> PushDistances:
    return PushDistances("", tuple((f"agent-{n}", float(rng.randrange(MOST_STEPS))) for n in named))


# Steps.


@dataclass(slots=True)
class _Steps:
    """Of a scheduler whose copies end with the step that they begin in."""

    scheduler: Scheduler
    plan_ms: list[float] = field(default_factory=list)
    handle_ms: list[float] = field(default_factory=list)
    news_ms: list[float] = field(default_factory=list)
    num_ahead: int = 0
    """Pages brought that nobody waited for."""
    _ended: list[Message] = field(default_factory=list)

    def step(self, *news: Message) -> None:
        scheduler = self.scheduler
        now = scheduler.memory.time.now + STEP_S
        began_s = time.perf_counter()
        handle(scheduler, (*news, *self._ended), now)
        heard_s = time.perf_counter()
        plan = scheduler.plan()
        planned_s = time.perf_counter()
        if plan.batch.rows:
            result = result_of(plan)
            handled_s = time.perf_counter()
            scheduler.handle(StepFinished(result, now))
            self.handle_ms.append(1000 * (time.perf_counter() - handled_s))
        self.news_ms.append(1000 * (heard_s - began_s))
        self.plan_ms.append(1000 * (planned_s - heard_s))
        copies, reads = plan.transfers.copies, plan.transfers.reads
        self.num_ahead += sum(len(copy.pages) for copy in copies if copy.is_ahead)
        self._ended = [CopyEnded(copy.ticket, len(copy.pages)) for copy in copies]
        self._ended += [ReadEnded(read.ticket, ON_DISK[read.path]) for read in reads]

    def forget(self) -> None:
        """What was measured until now."""
        for took_ms in (self.plan_ms, self.handle_ms, self.news_ms):
            took_ms.clear()
        self.num_ahead = 0


def _print_steps(steps: _Steps, num_pushed: int) -> None:
    rng = random.Random(0)
    steps.forget()
    for number in range(NUM_STEPS):
        news = [Call(0, _push(rng.sample(range(NUM_KNOWN), num_pushed), rng))]
        if number % STEPS_BETWEEN_TICKS == 0:
            news.append(Call(1, TickAgents("")))
        steps.step(*news)
    assert len(steps.scheduler.running) == NUM_ROWS
    console.print(
        f"{NUM_ROWS} decode rows of agents, {num_pushed} of {NUM_KNOWN:,} others have news in each "
        f"step, {steps.num_ahead / NUM_STEPS:.0f} pages come ahead in each: plan "
        f"{median(steps.plan_ms):.2f} ms, handle {median(steps.handle_ms):.2f} ms, news and ends "
        f"of copies {median(steps.news_ms):.2f} ms (medians of {NUM_STEPS})"
    )


def _running() -> _Steps:
    """Some agents have called before, and what they own has left the device for the most part;
    others decode."""
    spec = SchedulerSpec(
        batch=BatchConfig(max_batch_tokens=8192, max_batch_rows=NUM_ROWS),
        max_model_len=MAX_MODEL_LEN,
        num_pages=NUM_PAGES,
        page_tokens=PAGE_TOKENS,
        base_model="base",
        adapters=ADAPTERS,
        num_host_pages=NUM_HOST_PAGES,
        costs=COSTS,
        eviction="distance_cost",
    )
    steps = _Steps(spec.make())
    for number in range(NUM_KNOWN):
        steps.scheduler.handle(_request(number, KNOWN_TOKENS, max_tokens=1))
    while len(steps.scheduler.running) or steps.scheduler.stats().num_waiting:
        steps.step()
    for number in range(NUM_KNOWN, NUM_KNOWN + NUM_ROWS):
        steps.scheduler.handle(_request(number, ROW_TOKENS, max_tokens=8 * NUM_STEPS))
    while sum(sequence.num_pending == 1 for sequence in steps.scheduler.running) < NUM_ROWS:
        steps.step()
    return steps


def _request(number: int, prompt_tokens: int, max_tokens: int) -> Arrived:
    """Of an agent that has made none before."""
    request = Request(
        f"{number}",
        tuple(range(number, number + prompt_tokens)),
        SamplingParams(max_tokens=max_tokens),
        ADAPTERS[number % NUM_ADAPTERS],
        agent=AgentCall(AgentKey("", f"agent-{number}")),
    )
    return Arrived(request, 0.0)


if __name__ == "__main__":
    typer.run(main)
