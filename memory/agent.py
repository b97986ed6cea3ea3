"""What is said of agents: who calls, when they are expected to call again, and what to do then."""

import enum

from msgspec import Struct

MAX_AGENTS = 2**20
"""Known at once. Who called longest ago is forgotten for who comes."""


class Unit(enum.StrEnum):
    """In which distances are counted."""

    STEPS = "steps"
    """Of the world that the agent lives in: who simulates it says when one is over."""
    SECONDS = "seconds"


class NextUse(Struct, frozen=True):
    """How far off an agent's next call is, from the moment this is about."""

    value: float
    """0: it may call at once; infinite: never again."""
    unit: Unit = Unit.STEPS
    latest: float | None = None
    """By when it has most likely come; None: nobody says."""


class AgentKey(Struct, frozen=True, order=True):
    """Names an agent. Whoever may not name a tenant cannot reach its agents."""

    tenant: str
    agent_id: str


class AgentCall(Struct, frozen=True):
    """What a request says of the agent that makes it. Changes when bytes move, never a token."""

    key: AgentKey
    program_id: str = ""
    """What the call is a part of; empty: the agent itself."""
    next_use: NextUse | None = None
    """From the end of the answer on; None: nobody says."""
    is_final: bool = False
    """Nothing of the agent is needed after this call."""
    tool: str | None = None
    """The agent calls again when this tool has answered."""
    retain_s: float | None = None
    """Keep its state as if it called again so soon."""
    step: int = 0
    """Of the world that it is made in: others may wait there for those who are behind."""
    supersedes: bool = False
    """Nothing that the agent has computed until now will be wanted again, beyond what this prompt
    has in common with it."""
    expected_tokens: int | None = None
    """Of the answer; None: nobody says."""
    keep_tokens: int | None = None
    """Its next prompt begins with so many tokens of this one and its answer; None: nobody says."""


class Target(enum.StrEnum):
    """What an agent owns."""

    ALL = "all"
    KV = "kv"
    ADAPTER = "adapter"


class Verb(enum.StrEnum):
    """What may be asked for with the state of an agent."""

    PREFETCH = "prefetch"
    """Bring it to the device."""
    DEMOTE = "demote"
    """It is not needed on the device."""
    RETAIN = "retain"
    """Keep it for so long."""


class Happening(enum.StrEnum):
    """What may happen to an agent between two calls."""

    TOOL_START = "tool_start"
    TOOL_END = "tool_end"
    HUMAN_WAIT = "human_wait"
    SUMMARISED = "summarised"
    """What it has said until now will not be repeated: its next prompt is another one."""


class Outcome(enum.StrEnum):
    """What became of a wish about an agent's state."""

    ACCEPTED = "accepted"
    CLIPPED = "clipped"
    """A part of it."""
    DEFERRED = "deferred"
    """Later, when there is room or the link is free."""
    REJECTED = "rejected"
    MISSING = "missing"
    """There is no such agent, or nothing of what was meant."""


class Moved(Struct, frozen=True):
    """The answer to a wish about an agent's state."""

    outcome: Outcome
    num_pages: int = 0
    """That it is about."""
    eta_s: float = 0.0
    """Until it is done, as far as that can be said."""


class Pushed(Struct, frozen=True):
    """What became of a push of distances."""

    applied: int = 0
    unknown: int = 0
    """Agents that nobody knows: they own nothing."""
    is_stale: bool = False
    """A later epoch had come before: nothing was changed."""
    prefetch_pages: int = 0
    """Pages that will be brought to the device because of it, as far as there is room and as far as
    they are counted."""


class AgentStatus(Struct, frozen=True):
    """An agent as it is now."""

    agent_id: str
    adapter: str | None = None
    """Name of the adapter that it called last."""
    num_running: int = 0
    """Its requests that are waiting or running."""
    num_calls: int = 0
    distance: NextUse | None = None
    """From now on; None: unknown."""
    source: str | None = None
    """Who says so."""
    kv_pages_device: int = 0
    kv_pages_host: int = 0
    """Only on the host."""
    adapter_residency: str | None = None
