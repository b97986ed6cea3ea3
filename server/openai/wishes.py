"""A wish from the fields of a body: typed, with defaults, within what this version does."""

from collections.abc import Collection
from typing import TypeVar

import msgspec

from motet.client.protocol import (
    ChatRequest,
    CompletionRequest,
    DetokenizeRequest,
    GenerationRequest,
    TokenizeRequest,
    WarmRequest,
)
from motet.errors import RequestError
from motet.server.openai.convert import convert
from motet.server.text.defaults import SamplingDefaults

W = TypeVar("W", bound=GenerationRequest)

_COMMON = (
    "response_format",
    "structured_outputs",
    "lora",
    "prompt_logprobs",
    "skip_special_tokens",
    "allowed_token_ids",
    "bad_words",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "use_beam_search",
    "length_penalty",
    "return_tokens_as_token_ids",
)
DEFAULT_ONLY: dict[type[GenerationRequest], tuple[str, ...]] = {
    CompletionRequest: (*_COMMON, "suffix"),
    ChatRequest: (
        *_COMMON,
        "chat_template",
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "audio",
    ),
}
"""Fields that this version knows but serves only at their default. All others are implemented."""

NEUTRAL = {"tool_choice": "none", "function_call": "none"}
"""What asks for nothing either."""

LARGE_FIELD: dict[type[msgspec.Struct], str] = {
    CompletionRequest: "prompt",
    ChatRequest: "messages",
    TokenizeRequest: "prompt",
    DetokenizeRequest: "tokens",
    WarmRequest: "messages",
}
"""The field that may make a body large."""


def wish_of(fields: dict[str, object], defaults: SamplingDefaults, wire_type: type[W]) -> W:
    """What the client wishes. Raises RequestError, also for what this version does not do."""
    wish = convert(defaults.apply(fields), wire_type)
    _check_supported(wish, fields.keys())
    if wish.stream_options is not None and not wish.stream:
        raise RequestError("'stream_options' needs 'stream': true", param="stream_options")
    return wish


def _check_supported(wish: GenerationRequest, given: Collection[str]) -> None:
    """Refuse, by name, what this version does not do."""
    doubtful = [name for name in DEFAULT_ONLY[type(wish)] if name in given]
    if not doubtful:
        return
    default = {field.name: field for field in msgspec.structs.fields(wish)}
    for name in doubtful:
        factory = default[name].default_factory
        neutral = default[name].default if factory is msgspec.NODEFAULT else factory()
        if getattr(wish, name) not in (neutral, NEUTRAL.get(name, neutral)):
            raise RequestError(
                f"'{name}' is not supported in this version: leave it out",
                code="unsupported_parameter",
                param=name,
            )
