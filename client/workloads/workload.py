"""What all workloads have in common: parameters that are checked, and the trace of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from motet.client.workloads.next_use import in_order
from motet.client.workloads.trace import AdapterShape, Call, Header, Push, Trace
from motet.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Workload(ABC):
    """The parameters of a workload. Equal ones generate equal traces."""

    seed: int = 0

    @abstractmethod
    def generate(self) -> Trace: ...


def trace_of(
    parameters: Workload,
    workload: str,
    calls: Iterable[Call],
    adapters: Mapping[str, AdapterShape],
    *,
    pushes: Iterable[Push | None] = (),
    steps: int | None = None,
) -> Trace:
    """The calls in order, with their next uses. `pushes` may have steps without news."""
    values = {item.name: getattr(parameters, item.name) for item in fields(parameters)}
    header = Header(
        workload=workload,
        seed=values.pop("seed"),
        parameters={
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        },
        adapters=dict(adapters),
        steps=steps,
    )
    return Trace(header, in_order(calls), tuple(push for push in pushes if push is not None))


def check_range(name: str, value: float, low: float, high: float | None = None) -> None:
    """Raises ConfigError where a parameter is not one that can be generated."""
    if not (low <= value and (high is None or value <= high)):
        bounds = f"{low:g} or more" if high is None else f"between {low:g} and {high:g}"
        raise ConfigError(f"{name} is {value:g}: give one that is {bounds}")
