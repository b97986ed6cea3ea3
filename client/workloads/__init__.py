"""Workloads of agents: generated from a seed, or read from traces of others."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from motet.client.workloads.burstgpt import read_burstgpt
from motet.client.workloads.diffusion import Diffusion
from motet.client.workloads.independent import Independent
from motet.client.workloads.manylora import ManyLora
from motet.client.workloads.mooncake import read_mooncake
from motet.client.workloads.phases import Phases
from motet.client.workloads.rounds import Rounds
from motet.client.workloads.subagents import Subagents
from motet.client.workloads.toolloop import ToolLoop
from motet.client.workloads.town import Town
from motet.client.workloads.trace import Trace, read_trace
from motet.client.workloads.workflow import Workflow
from motet.client.workloads.workload import Workload, check_range
from motet.errors import ConfigError

WORKLOADS: dict[str, type[Workload]] = {
    "independent": Independent,
    "town": Town,
    "diffusion": Diffusion,
    "rounds": Rounds,
    "workflow": Workflow,
    "toolloop": ToolLoop,
    "subagents": Subagents,
    "manylora": ManyLora,
    "phases": Phases,
}
"""Frozen dataclasses of parameters, all with defaults. Each has `seed` and `agents`."""

READERS: dict[str, Callable[[Path], Trace]] = {
    "motet": read_trace,
    "mooncake": read_mooncake,
    "burstgpt": read_burstgpt,
}
"""By whose format the file has."""


def generate_trace(name: str, **parameters: Any) -> Trace:
    """The trace of a workload; what is not given, or None, is as its dataclass says.

    Raises ConfigError where there is no such workload, or it has no such parameter.
    """
    if name not in WORKLOADS:
        raise ConfigError(f"there is no workload '{name}': take one of {', '.join(WORKLOADS)}")
    known = [item.name for item in fields(WORKLOADS[name])]
    given = {key: value for key, value in parameters.items() if value is not None}
    for key in sorted(given.keys() - set(known)):
        raise ConfigError(f"the workload {name} has no {key}: it has {', '.join(known)}")
    check_range("seed", given.get("seed", 0), 0)
    return WORKLOADS[name](**given).generate()


__all__ = ["READERS", "WORKLOADS", "Trace", "Workload", "generate_trace"]
