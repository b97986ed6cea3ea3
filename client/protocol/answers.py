"""What all answers have in common."""

from msgspec import Struct


class PromptTokensDetails(Struct, kw_only=True, frozen=True):
    cached_tokens: int
    """Prompt tokens whose KV was still there from an earlier request."""


class Usage(Struct, kw_only=True, frozen=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class PrefixAnswer(Struct, kw_only=True, frozen=True):
    cached_tokens: int
    """Of the prompt, whose KV was still there from an earlier request."""


class AgentAnswer(Struct, kw_only=True, frozen=True):
    """What became of the agent's state in this call."""

    prefix: PrefixAnswer
    adapter: str | None
    """Digest of the weights that answer; null: the base model."""


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
