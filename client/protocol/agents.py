"""Agents between their requests: when they will call, what to do with their state, how it is."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from motet.client.protocol.agent_fields import (
    MAX_ID_CHARS,
    AgentId,
    Distance,
    NextUse,
    ToolName,
    TtlSeconds,
)
from motet.client.protocol.chat import ChatMessage


class PushHead(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """How to read the distances that follow: the first line of an NDJSON body."""

    epoch: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    """Grows with each push: one that is not newer than the last changes nothing."""
    unit: Literal["steps", "seconds"] = "steps"
    mode: Literal["merge", "replace"] = "merge"
    """With `replace`, nothing is known any more of agents that are not named."""


class PushRequest(PushHead, kw_only=True, frozen=True, omit_defaults=True):
    """Body of POST /v1/agents/distances: one of `distances` and `buckets`.

    From now on, when each agent is expected to call.
    """

    distances: dict[AgentId, Distance | Literal["never"]] | None = None
    buckets: dict[str, list[AgentId]] | None = None
    """Distance, written as a number or as `never` -> all agents that are so far off."""


class UpdateRequest(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Body of POST /v1/update, as ScaleSim sends it: a whole push, in steps."""

    agent_data: dict[AgentId, Distance | Literal["never"]] | None = None
    timestep_data: dict[str, list[AgentId]] | None = None
    """The same by distance; read where there is no `agent_data`."""
    timestep_cnt: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    """The epoch."""


class PushAnswer(Struct, kw_only=True, frozen=True):
    """Answer of POST /v1/agents/distances and /v1/update. Counts are of agents."""

    applied: int
    unknown: int
    """That nobody knows: they own nothing."""
    stale: bool
    """A later epoch had come before: nothing was changed."""
    clipped: int
    """Known, but more than are kept."""
    planned_prefetch_bytes: int
    """That will be brought to the device because of it, as far as there is room."""
    epoch: int | None


class TickRequest(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Body of POST /v1/agents/tick."""

    n: Annotated[int, Meta(ge=1, le=2**31)] = 1
    """Steps that are over: all distances in steps are that much nearer."""


class AgentModel(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Which adapter an agent will ask for: one of the fields; neither is the base model."""

    model: Annotated[str, Meta(max_length=1024)] = ""
    """As in requests for text."""
    adapter: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    """Its name."""

    def __post_init__(self) -> None:
        if self.model and self.adapter is not None:
            raise ValueError("give one of 'model' and 'adapter'")


class RegisterAgentRequest(AgentModel, kw_only=True, frozen=True, omit_defaults=True):
    """Body of POST /v1/agents."""

    id: AgentId


class ChangeAgentRequest(AgentModel, kw_only=True, frozen=True, omit_defaults=True):
    """Body of PATCH /v1/agents/{id}: what is not named stays."""

    next_use: NextUse = "unknown"


class MoveRequest(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Body of POST /v1/agents/{id}/prefetch, /demote and /evict."""

    target: Literal["all", "kv", "adapter"] = "all"


class RetainRequest(MoveRequest, kw_only=True, frozen=True, omit_defaults=True):
    """Body of POST /v1/agents/{id}/retain."""

    ttl_s: TtlSeconds


class AgentEvent(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Body of POST /v1/events: what has happened to an agent between two calls."""

    agent: AgentId
    event: Literal["tool_start", "tool_end", "human_wait", "summarised"]
    tool: ToolName | None = None
    predict_s: TtlSeconds | None = None
    """How long it will take, if somebody knows."""


class MoveAnswer(Struct, kw_only=True, frozen=True):
    """What became of a wish about an agent's state."""

    outcome: Literal["accepted", "clipped", "deferred", "rejected", "missing"]
    bytes: int
    """That it is about, in whole pages."""
    eta_ms: float
    """Until it is done, as far as that can be said."""


class WarmRequest(AgentModel, kw_only=True, frozen=True, omit_defaults=True):
    """Body of POST /v1/agents/{id}/warm: what the agent's prompts will begin with.

    One of `messages` and `prompt`.
    """

    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=2048)] | None = None
    add_generation_prompt: bool = False
    """Begin the assistant's turn behind the messages."""
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)
    prompt: str | list[int] | None = None
    add_special_tokens: bool = True
    """Begin a text as prompts begin."""
    cache_salt: Annotated[str, Meta(max_length=256)] = ""

    def __post_init__(self) -> None:
        AgentModel.__post_init__(self)
        if (self.messages is None) == (self.prompt is None):
            raise ValueError("give one of 'messages' and 'prompt'")


class WarmAnswer(Struct, kw_only=True, frozen=True):
    outcome: Literal["accepted"]
    prompt_tokens: int
    cached_tokens: int
    """Of them, whose KV was there before."""


class AgentQuery(Struct, kw_only=True, frozen=True):
    """Parameters of GET /v1/agents."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    after: Annotated[str, Meta(max_length=MAX_ID_CHARS)] = ""
    """Begin behind this id."""


class AgentState(Struct, kw_only=True, frozen=True):
    """An agent as it is now. What is not known is null."""

    id: str
    adapter: str | None
    """That it called last, or was registered with; null: the base model."""
    running: int
    """Its requests that wait or run."""
    calls: int
    next_use: NextUse
    """From now on."""
    source: str | None
    """Who says so."""
    kv_bytes_device: int
    kv_bytes_host: int
    """Only on the host."""
    adapter_state: str | None


class AgentList(Struct, kw_only=True, frozen=True):
    """Answer of GET /v1/agents, in order of id: ask for the next with `after` the last."""

    object: str = "list"
    data: list[AgentState]
    has_more: bool
