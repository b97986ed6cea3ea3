"""Text to token ids and back, as the model sees them."""

from starlette.requests import Request
from starlette.responses import Response

from motet.client.protocol import (
    DetokenizeRequest,
    DetokenizeResponse,
    TokenizeRequest,
    TokenizeResponse,
)
from motet.errors import RequestError
from motet.server.body import convert, read_json
from motet.server.responses import json_response
from motet.server.service import Served, Service


async def tokenize(service: Service, http: Request) -> Response:
    """The tokens of a text. It may be longer than the context."""
    served = service.served
    fields = await read_json(http, service.aside)
    service.note_ignored(fields.keys() - set(TokenizeRequest.__struct_fields__))
    wish = convert(fields, TokenizeRequest)
    served.names.resolve(wish.model or served.name)

    def answer(wish: TokenizeRequest) -> Response:
        return json_response(_tokenized(wish, served))

    return await service.aside.run(answer, wish)


async def detokenize(service: Service, http: Request) -> Response:
    """The text of some tokens."""
    served = service.served
    fields = await read_json(http, service.aside)
    service.note_ignored(fields.keys() - set(DetokenizeRequest.__struct_fields__))
    wish = convert(fields, DetokenizeRequest)
    served.names.resolve(wish.model or served.name)
    _check_vocabulary(wish.tokens, served.info.vocab_size)
    text = await service.aside.run(served.tokenizer.decode, wish.tokens)
    return json_response(DetokenizeResponse(prompt=text))


def _tokenized(wish: TokenizeRequest, served: Served) -> TokenizeResponse:
    """Takes a while for a long text."""
    text, begins_prompt = _text_of(wish)
    ids = served.tokenizer.encode(text, add_special_tokens=begins_prompt)
    return TokenizeResponse(
        count=len(ids),
        max_model_len=served.info.max_model_len,
        tokens=ids,
        token_strs=served.tokenizer.pieces(ids) if wish.return_token_strs else None,
    )


def _text_of(wish: TokenizeRequest) -> tuple[str, bool]:
    """The text, and whether special tokens are added to it."""
    match wish.prompt, wish.content:
        case str(text), None:
            is_prompt = True
        case None, str(text):
            is_prompt = False
        case _:
            raise RequestError(
                "the text is given in none or both of 'prompt' and 'content': give one of them",
                code="missing_field",
                param="prompt",
            )
    return text, is_prompt if wish.add_special_tokens is None else wish.add_special_tokens


def _check_vocabulary(ids: list[int], vocab_size: int) -> None:
    if ids and max(ids) >= vocab_size:
        raise RequestError(
            f"'tokens' has {max(ids)}: the model's vocabulary is 0 to {vocab_size - 1}",
            param="tokens",
        )
