"""What a request says of who makes it, under the names that servers and clients have for it.

All of it is advice: it changes when state moves, never which tokens come out.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

MAX_ID_CHARS = 256
MAX_TTL_S = 30 * 24 * 3600

AgentId = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
"""Unique among the agents of one API key."""
ToolName = Annotated[str, Meta(min_length=1, max_length=256)]
Distance = Annotated[float, Meta(ge=0)]
TtlSeconds = Annotated[float, Meta(ge=0, le=MAX_TTL_S)]
Priority = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
TokenCount = Annotated[int, Meta(ge=0, le=2**31)]


class NextUseFields(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """How far off the agent's next call is, from the end of this one on: in one of the units."""

    steps: Distance | None = None
    """Of the world that the agent lives in: /v1/agents/tick says when one is over."""
    seconds: Distance | None = None
    p90: Distance | None = None
    """Seconds within which nine of ten such calls come."""

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.seconds is None):
            raise ValueError("give one of 'steps' and 'seconds'")
        if self.p90 is not None and self.seconds is None:
            raise ValueError("'p90' needs 'seconds'")


NextUse = NextUseFields | Literal["never", "unknown"]


class RetainRange(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Tokens [start, end) of the prompt."""

    start: TokenCount = 0
    end: TokenCount | None = None
    priority: Annotated[int, Meta(ge=0, le=100)] = 50


class RetainFields(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What to keep of the agent's state when it has its answer."""

    ttl_s: TtlSeconds | None = None
    ranges: Annotated[list[RetainRange], Meta(max_length=64)] = []


class AgentFields(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Who makes the request. The answer has `agent_state` then."""

    id: AgentId | None = None
    """Unless another field or header of the request says it."""
    parent_id: AgentId | None = None
    program_id: AgentId | None = None
    """What the call is a part of; default: `parent_id`."""
    step: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    next_use: NextUse = "unknown"
    final: bool = False
    """Nothing of the agent is needed after this call."""
    tool: ToolName | None = None
    """The agent calls again when this tool has answered."""
    supersedes: bool = False
    """The prompt takes the place of the one before, and does not go on with it."""
    osl: TokenCount | None = None
    """Tokens of output that are expected."""
    retain: RetainFields | None = None


class AgentHints(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Dynamo's `nvext.agent_hints`."""

    priority: Priority | None = None
    """The higher goes first: the opposite of `priority` of the request."""
    osl: TokenCount | None = None


class SessionControl(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Dynamo's `nvext.session_control`."""

    session_id: AgentId | None = None
    action: Literal["bind", "open", "close"] | None = None
    timeout: TtlSeconds | None = None
    """Seconds for which an idle session is kept."""


class Nvext(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Dynamo's extensions, as far as they are about agents; others are ignored."""

    agent_hints: AgentHints | None = None
    session_control: SessionControl | None = None
    cache_salt: Annotated[str, Meta(max_length=256)] = ""
