"""Everything that can happen to the scheduler. Times are seconds on one monotonic clock."""

from dataclasses import dataclass

from motet.engine.plan import StepResult
from motet.engine.request import Request
from motet.memory.adapter import Adapter


@dataclass(frozen=True, slots=True)
class AdapterRegistered:
    """The adapter's host image is complete; requests may name it from now on."""

    adapter: Adapter


@dataclass(frozen=True, slots=True)
class Arrived:
    request: Request
    now: float


@dataclass(frozen=True, slots=True)
class Aborted:
    """Nobody wants this request any more. An unknown id is fine: it has just finished."""

    request_id: str


@dataclass(frozen=True, slots=True)
class StepFinished:
    result: StepResult
    now: float


Event = AdapterRegistered | Arrived | Aborted | StepFinished
