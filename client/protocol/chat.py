"""POST /v1/chat/completions."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from motet.client.protocol.answers import AgentAnswer, Usage
from motet.client.protocol.generation import GenerationRequest


class TextPart(Struct, kw_only=True, frozen=True):
    """A piece of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One turn. Which roles there are is up to the model's chat template."""

    role: Annotated[str, Meta(min_length=1, max_length=64)]
    content: str | list[TextPart] | None = None
    name: str | None = None

    tool_calls: list[Any] | None = None
    tool_call_id: str | None = None


class ChatRequest(GenerationRequest, kw_only=True, frozen=True, omit_defaults=True):
    """Body of POST /v1/chat/completions. Without a limit: what the context has left."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=2048)]
    max_completion_tokens: Annotated[int, Meta(ge=0, le=2**31)] | None = None
    """OpenAI's new name of `max_tokens`."""
    logprobs: bool = False
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    """Report as many of the most likely alternatives to each token; needs `logprobs`."""
    add_generation_prompt: bool = True
    """Begin the assistant's turn."""
    continue_final_message: bool = False
    """Go on with the last message instead; needs `add_generation_prompt: false`."""
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)
    """Switches of the model's template, such as `enable_thinking`."""

    chat_template: str | None = None
    tools: list[Any] = field(default_factory=list)
    tool_choice: Any = None
    functions: list[Any] = field(default_factory=list)
    function_call: Any = None
    audio: Any = None
    modalities: list[Literal["text"]] | None = None
    """Accepted for OpenAI's sake: there is only text."""


class TopLogprob(Struct, kw_only=True, frozen=True):
    token: str
    logprob: float
    bytes: list[int]


class ChatTokenLogprob(Struct, kw_only=True, frozen=True):
    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class ChatLogprobs(Struct, kw_only=True, frozen=True):
    content: list[ChatTokenLogprob]


class AssistantMessage(Struct, kw_only=True, frozen=True):
    role: str = "assistant"
    content: str
    refusal: None = None


class ChatChoice(Struct, kw_only=True, frozen=True):
    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None
    """`stop` or `length`."""
    stop_reason: str | int | None = None
    """The stop string or stop token id that ended the text."""
    token_ids: list[int] | UnsetType = UNSET


class ChatResponse(Struct, kw_only=True, frozen=True):
    """Answer of POST /v1/chat/completions."""

    id: str
    object: str = "chat.completion"
    created: int
    """Seconds since the epoch."""
    model: str
    choices: list[ChatChoice]
    usage: Usage
    system_fingerprint: str
    """Which weights answered: the base model, or an adapter and its digest."""
    prompt_token_ids: list[int] | UnsetType = UNSET
    agent_state: AgentAnswer | UnsetType = UNSET
    """If the request has `agent`."""


class ChatDelta(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What a chunk adds to the message. The first of each choice has the role."""

    role: str | None = None
    content: str | None = None


class ChatChunkChoice(Struct, kw_only=True, frozen=True):
    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None
    """In the last chunk of each choice, whose delta is empty."""
    stop_reason: str | int | None = None
    token_ids: list[int] | UnsetType = UNSET


class ChatChunk(Struct, kw_only=True, frozen=True):
    """One event of a streamed answer."""

    id: str
    object: str = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: Usage | None = None
    system_fingerprint: str
    prompt_token_ids: list[int] | UnsetType = UNSET
    """In the first chunk."""
    agent_state: AgentAnswer | UnsetType = UNSET
    """In the last chunk of each choice, if the request has `agent`."""
