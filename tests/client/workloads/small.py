"""Small traces of every workload, and calls that tests make by hand."""

from functools import cache
from typing import Any

from motet.client.workloads import WORKLOADS, generate_trace
from motet.client.workloads.trace import Call, Passage, Trace

SIZES: dict[str, dict[str, Any]] = {
    "independent": {"agents": 20, "steps": 60},
    "town": {"agents": 40, "steps": 90},
    "diffusion": {"agents": 200, "steps": 40, "posts_per_step": 1.0},
    "rounds": {"agents": 10, "steps": 5},
    "workflow": {"agents": 40, "steps": 40},
    "toolloop": {"agents": 8, "human_share": 0.2},
    "subagents": {"agents": 2},
    "manylora": {"agents": 20, "duration_s": 60.0},
    "phases": {"agents": 12, "steps": 60, "adapters": 20, "requests": 5},
}
NAMES = list(WORKLOADS)


@cache
def small_trace(name: str, seed: int = 0) -> Trace:
    return generate_trace(name, seed=seed, **SIZES[name])


def a_call(call_id: int, **fields: Any) -> Call:
    defaults: dict[str, Any] = {
        "session": "s",
        "agent": "a",
        "prompt": (Passage(1, 10),),
        "output": Passage(2, 5),
    }
    return Call(call_id=call_id, **{**defaults, **fields})
