"""POST /tokenize and POST /detokenize."""

from typing import Annotated

from msgspec import Meta, Struct

from motet.client.protocol.chat import ChatMessage
from motet.client.protocol.generation import TokenId


class TokenizeRequest(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Body of POST /tokenize: exactly one of `prompt`, `content` and `messages`."""

    model: Annotated[str, Meta(max_length=1024)] = ""
    """All names have the tokenizer of the base model."""
    prompt: str | None = None
    content: str | None = None
    """What llama.cpp calls it; read without special tokens, as llama.cpp does."""
    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=2048)] | None = None
    """A conversation, through the model's chat template."""
    add_generation_prompt: bool = True
    """Of a conversation: begin the assistant's turn."""
    add_special_tokens: bool | None = None
    """Begin as a prompt begins. Default: true for `prompt`, false for the others."""
    return_token_strs: bool = False


class TokenizeResponse(Struct, kw_only=True, frozen=True):
    """Answer of POST /tokenize."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None
    """Each token as the vocabulary spells it."""


class DetokenizeRequest(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Body of POST /detokenize."""

    model: Annotated[str, Meta(max_length=1024)] = ""
    tokens: list[TokenId]


class DetokenizeResponse(Struct, kw_only=True, frozen=True):
    """Answer of POST /detokenize."""

    prompt: str
    """With the text of special tokens."""
