"""Small replays: traces that take tenths of a second, on memory that is short."""

from functools import cache
from typing import Any

from motet.bench.replay.arm import Arm, Hints
from motet.bench.replay.costs import COST_MODELS
from motet.bench.replay.result import Row, row_of
from motet.bench.replay.run import Run, Setting
from motet.bench.replay.setting import BATCH
from motet.bench.replay.state import TraceState
from motet.bench.replay.virtual import virtual_stage
from motet.client.workloads import Trace, generate_trace
from motet.client.workloads.trace import AdapterShape, Call, Header, Passage

PAGE_TOKENS = 64

SIZES: dict[str, dict[str, Any]] = {
    "independent": {"agents": 12, "steps": 12},
    "town": {"agents": 8, "steps": 20},
    "diffusion": {"agents": 40, "steps": 12, "posts_per_step": 1.0},
    "rounds": {"agents": 6, "steps": 3},
    "workflow": {"agents": 10, "steps": 8, "max_prompt": 2048},
    "toolloop": {"agents": 4, "turns": 4.0, "max_context": 12288},
    "subagents": {"agents": 1, "depth": 1, "max_fan_out": 6},
    "manylora": {"agents": 10, "duration_s": 10.0, "max_output": 64},
    "phases": {"agents": 8, "steps": 16, "phase_steps": 4, "requests": 8, "adapters": 12},
}


@cache
def small_trace(name: str) -> Trace:
    return generate_trace(name, **SIZES[name])


def a_setting(trace: Trace, ratio: float = 0.3, cost_model: str = "h200-8b") -> Setting:
    """With a pool of that share of all state, or what the largest call needs and an eighth."""
    cost = COST_MODELS[cost_model]
    state = TraceState(trace, cost, PAGE_TOKENS)
    num_pages = max(int(ratio * state.num_pages), 9 * state.largest_pages // 8)
    num_host_pages = max(2 * state.num_pages, state.largest_adapter_pages)
    return Setting(trace, cost, state, PAGE_TOKENS, num_pages, num_host_pages, BATCH)


def run(setting: Setting, arm: Arm) -> Row:
    """To its end, where nothing may be left that does not agree."""
    stage = virtual_stage(setting, arm)
    finished = Run(setting, arm, stage)
    finished.go()
    stage.core.scheduler.check()
    return row_of(finished, stage)


def an_arm(eviction: str, prefetch: bool = True, hints: Hints = Hints.GIVEN) -> Arm:
    is_belady = Arm(eviction).is_belady
    return Arm(eviction, prefetch, hints=Hints.TRUTH if is_belady else hints)


def a_call(call_id: int, agent: str, *prompt: tuple[int, int], output: int, **more: Any) -> Call:
    """Passages are (hash id, tokens); the output is of 8 tokens."""
    passages = tuple(Passage(*passage) for passage in prompt)
    defaults: dict[str, Any] = {"session": agent, "step": 0, "output": Passage(output, 8)}
    return Call(call_id=call_id, agent=agent, prompt=passages, **{**defaults, **more})


def a_trace(*calls: Call, steps: int | None = 3, rank: int = 16) -> Trace:
    names = sorted({call.adapter for call in calls if call.adapter})
    shapes = {name: AdapterShape(rank, ("q", "v")) for name in names}
    return Trace(Header(workload="by hand", adapters=shapes, steps=steps), calls)
