"""Everything that crosses between the engine and its users, both ways: tagged, frozen values.

They survive msgpack, so the other side may be another thread, another process, or a file.
"""

from msgspec import Struct

from motet.engine.output import EngineInfo, EngineStats, TokenOutput
from motet.engine.plan import StepResult
from motet.engine.request import Request
from motet.memory.adapter import Adapter, AdapterNews, AdapterStatus
from motet.memory.agent import (
    AgentKey,
    AgentStatus,
    Happening,
    Moved,
    Pushed,
    Target,
    Unit,
    Verb,
)
from motet.memory.copy import CopyEnded, ReadEnded

# To the engine. Times are seconds on one monotonic clock.


class Arrived(Struct, frozen=True, tag=True):
    request: Request
    now: float


class Aborted(Struct, frozen=True, tag=True):
    """Nobody wants this request any more. An unknown id is fine: it has just finished."""

    request_id: str


class RegisterAdapter(Struct, frozen=True, tag=True):
    """Requests may name the adapter from now on. It is read when the first of them comes."""

    adapter: Adapter
    """Its generation is chosen by the engine."""


class LoadAdapter(Struct, frozen=True, tag=True):
    """Read an adapter, and let requests name it. Answered when its content is on the host, or why
    it cannot be: AdapterError, AdapterExists."""

    name: str
    path: str
    in_place: bool = False
    """A name that is taken means the new content from then on; else that is an error."""
    is_pinned: bool = False


class UnloadAdapter(Struct, frozen=True, tag=True):
    """No new request may name it; it leaves memory when the last one on it has ended.

    Raises ModelNotFound.
    """

    name: str


class PinAdapter(Struct, frozen=True, tag=True):
    """Keep it on the device, or no longer. Raises ModelNotFound, and AdapterError where the rest
    of the pool would not be enough."""

    name: str
    is_pinned: bool


class ResetPrefixCache(Struct, frozen=True, tag=True):
    """Forget all KV that nobody uses, on device and host."""


class ListAdapters(Struct, frozen=True, tag=True):
    """Generations in order of name, those that are leaving included."""

    after: str = ""
    """Begin behind this name."""
    limit: int = 1000
    name: str | None = None
    """Only those of one name."""


class PushDistances(Struct, frozen=True, tag=True):
    """When agents are expected to call, from now on; infinite: never. Answered by `pushed`."""

    tenant: str
    distances: tuple[tuple[str, float], ...]
    """(agent id, distance), none of them negative."""
    unit: Unit = Unit.STEPS
    epoch: int | None = None
    """Grows with each push of a tenant: one that is not newer than the last changes nothing."""
    is_whole: bool = False
    """Of the tenant's other agents nothing is known any more."""


class TickAgents(Struct, frozen=True, tag=True):
    """So many steps of a tenant's world are over: every distance in steps is that much nearer."""

    tenant: str
    num_steps: int = 1


class RegisterAgent(Struct, frozen=True, tag=True):
    """An agent that will call. Raises ModelNotFound where its adapter is not known."""

    key: AgentKey
    adapter: str | None = None
    """Name of the adapter that it will ask for."""


class ForgetAgent(Struct, frozen=True, tag=True):
    """The agent will not call again: what it alone owns is given up. Answered by `moved`."""

    key: AgentKey


class MoveAgent(Struct, frozen=True, tag=True):
    """Do something with an agent's state now. Answered by `moved`."""

    key: AgentKey
    verb: Verb
    target: Target = Target.ALL
    ttl_s: float | None = None
    """How long to retain."""


class TellAgent(Struct, frozen=True, tag=True):
    """Something has happened to an agent between two calls. Answered by `moved`."""

    key: AgentKey
    happening: Happening
    tool: str | None = None
    predict_s: float | None = None
    """How long it will take, if somebody knows."""


class ListAgents(Struct, frozen=True, tag=True):
    """Agents of a tenant in order of id."""

    tenant: str
    after: str = ""
    """Begin behind this id."""
    limit: int = 1000
    agent_id: str | None = None
    """Only this one."""


AgentCommand = (
    PushDistances | TickAgents | RegisterAgent | ForgetAgent | MoveAgent | TellAgent | ListAgents
)

Command = (
    RegisterAdapter
    | LoadAdapter
    | UnloadAdapter
    | PinAdapter
    | ResetPrefixCache
    | ListAdapters
    | AgentCommand
)


class Call(Struct, frozen=True, tag=True):
    """A command that is answered by the `Reply` of the same `call_id`."""

    call_id: int
    command: Command


class Stop(Struct, frozen=True, tag=True):
    """Turn no more."""


Message = Arrived | Aborted | Call | CopyEnded | ReadEnded | Stop
"""What comes into the inbox of the engine, from its users and from its executor."""


class Tick(Struct, frozen=True, tag=True):
    """So late is it."""

    now: float


class StepFinished(Struct, frozen=True, tag=True):
    result: StepResult
    now: float


Event = Arrived | Aborted | CopyEnded | ReadEnded | Tick | StepFinished
"""Everything that can happen to the scheduler."""

# From the engine.


class Reply(Struct, frozen=True, tag=True):
    call_id: int
    error: str | None = None
    """Why the command was not carried out; it has changed nothing then."""
    kind: str = "MotetError"
    """Name of the error in `motet.errors`."""
    adapters: tuple[AdapterStatus, ...] = ()
    """What the command is about."""
    agents: tuple[AgentStatus, ...] = ()
    """The same."""
    pushed: Pushed | None = None
    moved: Moved | None = None


class Ready(Struct, frozen=True, tag=True):
    """Requests are served from now on."""

    info: EngineInfo


class Report(Struct, frozen=True, tag=True):
    """Everything one turn of the engine has to say."""

    outputs: tuple[TokenOutput, ...]
    replies: tuple[Reply, ...]
    stats: EngineStats
    adapters: tuple[AdapterNews, ...] = ()
    """Since the last report."""


class Failed(Struct, frozen=True, tag=True):
    """The engine has ended by itself; its log says more."""

    kind: str
    """Name of the error in `motet.errors`, or of another one."""
    error: str


News = Ready | Report | Failed
