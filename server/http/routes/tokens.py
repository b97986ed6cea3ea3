"""Text to token ids and back, as the model sees them."""

from starlette.requests import Request
from starlette.responses import Response

from motet.client.protocol import (
    ChatRequest,
    DetokenizeRequest,
    DetokenizeResponse,
    TokenizeRequest,
    TokenizeResponse,
)
from motet.engine import Adapter
from motet.errors import RequestError
from motet.server.http.body import read_fields
from motet.server.http.responses import json_response
from motet.server.http.service import Service
from motet.server.openai.convert import convert
from motet.server.text.prompts import conversation_text
from motet.server.text.served import Served


async def tokenize(service: Service, http: Request) -> Response:
    """The tokens of a text. It may be longer than the context."""
    served = service.served
    wish = convert(await read_fields(service, http, TokenizeRequest), TokenizeRequest)
    adapter = await service.adapters.resolve(served, wish.model or served.name)
    return json_response(await service.aside.run(_tokenized, wish, served, adapter))


async def detokenize(service: Service, http: Request) -> Response:
    """The text of some tokens."""
    served = service.served
    wish = convert(await read_fields(service, http, DetokenizeRequest), DetokenizeRequest)
    await service.adapters.look_up(served, wish.model or served.name)
    _check_vocabulary(wish.tokens, served.info.vocab_size)
    text = await service.aside.run(served.tokenizer.decode, wish.tokens)
    return json_response(DetokenizeResponse(prompt=text))


def _tokenized(wish: TokenizeRequest, served: Served, adapter: Adapter | None) -> TokenizeResponse:
    """Takes a while for a long text."""
    text, begins_prompt = _text_of(wish, served, adapter)
    adds_special = begins_prompt if wish.add_special_tokens is None else wish.add_special_tokens
    ids = served.tokenizer.encode(text, add_special_tokens=adds_special)
    return TokenizeResponse(
        count=len(ids),
        max_model_len=served.info.max_model_len,
        tokens=ids,
        token_strs=served.tokenizer.pieces(ids) if wish.return_token_strs else None,
    )


def _text_of(wish: TokenizeRequest, served: Served, adapter: Adapter | None) -> tuple[str, bool]:
    """The text, and whether special tokens are added to it by default."""
    match wish.prompt, wish.content, wish.messages:
        case str(text), None, None:
            return text, True
        case None, str(text), None:
            return text, False
        case None, None, list(messages):
            conversation = ChatRequest(
                messages=messages, add_generation_prompt=wish.add_generation_prompt
            )
            return conversation_text(conversation, served, adapter), False
    raise RequestError(
        "there must be one of 'prompt', 'content' and 'messages': give exactly one",
        code="missing_field",
        param="prompt",
    )


def _check_vocabulary(ids: list[int], vocab_size: int) -> None:
    if ids and max(ids) >= vocab_size:
        raise RequestError(
            f"'tokens' has {max(ids)}: the model's vocabulary is 0 to {vocab_size - 1}",
            param="tokens",
        )
