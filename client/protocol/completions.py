"""POST /v1/completions."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from motet.client.protocol.answers import AgentAnswer, Usage
from motet.client.protocol.generation import GenerationRequest

Prompt = str | list[int | str | list[int]]
"""Text or token ids, or a list of texts and of lists of token ids."""


class CompletionRequest(GenerationRequest, kw_only=True, frozen=True, omit_defaults=True):
    """Body of POST /v1/completions. Without `max_tokens`: 16, or what the context has left."""

    prompt: Prompt
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    """Report the chosen tokens' logprobs and as many of the most likely alternatives."""
    echo: bool = False
    """Begin each text with its prompt, and `logprobs` with those of the prompt."""
    truncate_prompt_tokens: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    """Keep only this many tokens of each prompt, the last ones."""
    add_special_tokens: bool = True
    """Begin texts as prompts begin; not where the text has these tokens already."""
    best_of: int | None = None
    """Accepted if it is `n`: none of the choices is left out."""

    suffix: str = ""


class Logprobs(Struct, kw_only=True, frozen=True):
    """Four lists of equal length, one entry per token."""

    tokens: list[str]
    token_logprobs: list[float | None]
    """Null for the first token of an echoed prompt: nothing comes before it."""
    top_logprobs: list[dict[str, float] | None]
    """The most likely tokens and the chosen one."""
    text_offset: list[int]
    """Where the token starts in the text of the choice, in characters."""


class CompletionChoice(Struct, kw_only=True, frozen=True):
    index: int
    """Choice k of prompt p is `p * n + k`."""
    text: str
    logprobs: Logprobs | None = None
    finish_reason: str | None = None
    """`stop` or `length`; null while more follows."""
    stop_reason: str | int | None = None
    """The stop string or stop token id that ended the text."""
    token_ids: list[int] | UnsetType = UNSET
    prompt_token_ids: list[int] | UnsetType = UNSET
    """In the first chunk of a choice that is streamed."""


class CompletionResponse(Struct, kw_only=True, frozen=True):
    """Answer of POST /v1/completions."""

    id: str
    object: str = "text_completion"
    created: int
    """Seconds since the epoch."""
    model: str
    choices: list[CompletionChoice]
    usage: Usage
    system_fingerprint: str
    """Which weights answered: the base model, or an adapter and its digest."""
    agent_state: AgentAnswer | UnsetType = UNSET
    """If the request has `agent`."""


class CompletionChunk(Struct, kw_only=True, frozen=True):
    """One event of a streamed answer. Joined texts of a choice are all of its text."""

    id: str
    object: str = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | None = None
    system_fingerprint: str
    agent_state: AgentAnswer | UnsetType = UNSET
    """In the last chunk of each choice, if the request has `agent`."""
