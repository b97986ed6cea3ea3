"""Everything that crosses between the engine and its users, both ways: tagged, frozen values.

They survive msgpack, so the other side may be another thread, another process, or a file.
"""

from msgspec import Struct

from motet.engine.output import EngineInfo, EngineStats, TokenOutput
from motet.engine.plan import StepResult
from motet.engine.request import Request
from motet.memory.adapter import Adapter
from motet.memory.copy import CopyEnded

# To the engine. Times are seconds on one monotonic clock.


class Arrived(Struct, frozen=True, tag=True):
    request: Request
    now: float


class Aborted(Struct, frozen=True, tag=True):
    """Nobody wants this request any more. An unknown id is fine: it has just finished."""

    request_id: str


class RegisterAdapter(Struct, frozen=True, tag=True):
    """The adapter's host image is complete; requests may name it from now on."""

    adapter: Adapter


Command = RegisterAdapter


class Call(Struct, frozen=True, tag=True):
    """A command that is answered by the `Reply` of the same `call_id`."""

    call_id: int
    command: Command


class Stop(Struct, frozen=True, tag=True):
    """Turn no more."""


Message = Arrived | Aborted | Call | CopyEnded | Stop
"""What comes into the inbox of the engine, from its users and from its executor."""


class Tick(Struct, frozen=True, tag=True):
    """So late is it."""

    now: float


class StepFinished(Struct, frozen=True, tag=True):
    result: StepResult
    now: float


Event = Arrived | Aborted | CopyEnded | Tick | StepFinished
"""Everything that can happen to the scheduler."""

# From the engine.


class Reply(Struct, frozen=True, tag=True):
    call_id: int
    error: str | None = None
    """Why the command was not carried out; it has changed nothing then."""


class Ready(Struct, frozen=True, tag=True):
    """Requests are served from now on."""

    info: EngineInfo


class Report(Struct, frozen=True, tag=True):
    """Everything one turn of the engine has to say."""

    outputs: tuple[TokenOutput, ...]
    replies: tuple[Reply, ...]
    stats: EngineStats


class Failed(Struct, frozen=True, tag=True):
    """The engine has ended by itself; its log says more."""

    kind: str
    """Name of the error in `motet.errors`, or of another one."""
    error: str


News = Ready | Report | Failed
