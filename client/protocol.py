"""Everything that travels over HTTP, as types: the OpenAI wire format and motet's additions.

Bounds stand in the types, so one conversion checks a whole request. A field that a client leaves
out has its default here; `null` in a request means the same as leaving the field out.
"""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

INT64 = Meta(ge=-(2**63), le=2**63 - 1)
STOP_STRING = Meta(min_length=1, max_length=256)

Prompt = str | list[int | str | list[int]]
"""Text or token ids; a list of one of them is the same."""


class StreamOptions(Struct, kw_only=True, frozen=True, omit_defaults=True):
    include_usage: bool = False
    """One more chunk before the end, with the usage and no choices."""


class ResponseFormat(Struct, kw_only=True, frozen=True):
    """How the text is shaped; other fields belong to types that this version does not know."""

    type: str


class CompletionRequest(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Body of POST /v1/completions. A server may refuse some fields; it then names the field."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    """The base model or an adapter, by its exact name."""
    prompt: Prompt

    max_tokens: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    """Default: 16, or what the context has left."""
    min_tokens: Annotated[int, Meta(ge=0, le=2**31)] = 0
    """No end-of-sequence token and no stop string ends the text before."""
    ignore_eos: bool = False
    stop: (
        Annotated[str, STOP_STRING]
        | Annotated[list[Annotated[str, STOP_STRING]], Meta(max_length=16)]
    ) = []

    temperature: Annotated[float, Meta(ge=0, le=2)] = 1.0
    """0 is greedy."""
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Meta(ge=-1, le=2**31)] = 0
    """0 and -1 keep all."""
    min_p: Annotated[float, Meta(ge=0, le=1)] = 0.0
    seed: Annotated[int, INT64] | None = None
    """Default: random."""

    stream: bool = False
    stream_options: StreamOptions | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    """Report the chosen tokens' logprobs and as many of the most likely alternatives."""
    return_token_ids: bool = False
    """Add `token_ids` to each choice."""
    cache_salt: Annotated[str, Meta(max_length=256)] = ""
    """Cached prefixes are shared only between requests of equal salt."""
    user: str | None = None
    """Accepted for OpenAI's sake; nothing depends on it."""

    n: int = 1
    best_of: int = 1
    echo: bool = False
    suffix: str = ""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: dict[str, float] = {}
    stop_token_ids: list[int] = []
    include_stop_str_in_output: bool = False
    prompt_logprobs: int | None = None
    truncate_prompt_tokens: int | None = None
    response_format: ResponseFormat = ResponseFormat(type="text")
    structured_outputs: dict[str, Any] | None = None
    lora_path: str | None = None
    adapter_id: str | None = None
    lora: list[Any] = []


class PromptTokensDetails(Struct, kw_only=True, frozen=True):
    cached_tokens: int
    """Prompt tokens whose KV was still there from an earlier request."""


class Usage(Struct, kw_only=True, frozen=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class Logprobs(Struct, kw_only=True, frozen=True):
    """Four lists of equal length, one entry per token."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    """The most likely tokens and the chosen one."""
    text_offset: list[int]
    """Where the token starts in the completion, in characters."""


class CompletionChoice(Struct, kw_only=True, frozen=True):
    index: int
    text: str
    logprobs: Logprobs | None = None
    finish_reason: str | None = None
    """`stop` or `length`; null while more follows."""
    stop_reason: str | None = None
    """The stop string that ended the text."""
    token_ids: list[int] | UnsetType = UNSET


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


class CompletionChunk(Struct, kw_only=True, frozen=True):
    """One event of a streamed answer. Joined texts of all chunks are the whole completion."""

    id: str
    object: str = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | None = None
    system_fingerprint: str


class AdapterCard(Struct, kw_only=True, frozen=True):
    digest: str
    generation: int
    max_rank: int
    num_pages: int


class ModelCard(Struct, kw_only=True, frozen=True):
    """A name that `model` may have in a request."""

    id: str
    object: str = "model"
    created: int
    owned_by: str = "motet"
    root: str
    parent: str | None = None
    """Base model of an adapter."""
    max_model_len: int
    vocab_size: int
    adapter: AdapterCard | UnsetType = UNSET


class ModelList(Struct, kw_only=True, frozen=True):
    """Answer of GET /v1/models: the base model first."""

    object: str = "list"
    data: list[ModelCard]


class Status(Struct, kw_only=True, frozen=True):
    """Answer of GET /health and GET /ready."""

    status: str


class Version(Struct, kw_only=True, frozen=True):
    """Answer of GET /version."""

    version: str


class ErrorDetail(Struct, kw_only=True, frozen=True):
    message: str
    type: str
    param: str | None
    """The field at fault."""
    code: str | None
    """For programs; the message is for people."""


class ErrorResponse(Struct, kw_only=True, frozen=True):
    """Every error, on every path, in answers and in streams."""

    error: ErrorDetail
