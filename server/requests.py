"""What a client wishes, checked and with every default resolved, as the engine's Request."""

import secrets
import uuid
from collections.abc import Sequence
from typing import cast

from motet.client.protocol import CompletionRequest, Prompt
from motet.engine import Adapter, EngineInfo, Request, SamplingParams
from motet.errors import RequestError
from motet.server.aside import Aside
from motet.server.service import Served

DEFAULT_MAX_TOKENS = 16  # OpenAI's
LONG_PROMPT_CHARS = 4096  # encoding more would hold up every stream for milliseconds

DEFAULT_ONLY = (
    "n",
    "best_of",
    "echo",
    "suffix",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "stop_token_ids",
    "include_stop_str_in_output",
    "prompt_logprobs",
    "truncate_prompt_tokens",
    "response_format",
    "structured_outputs",
    "lora",
)
"""Fields that this version knows but serves only at their default. All others are implemented."""


def check_fields(wish: CompletionRequest) -> None:
    """Refuse what this version does not do, and what contradicts itself."""
    neutral = CompletionRequest(model=wish.model, prompt=wish.prompt)
    for name in DEFAULT_ONLY:
        if getattr(wish, name) != getattr(neutral, name):
            raise RequestError(
                f"'{name}' is not supported in this version: leave it out",
                code="unsupported_parameter",
                param=name,
            )
    if wish.stream_options is not None and not wish.stream:
        raise RequestError("'stream_options' needs 'stream': true", param="stream_options")
    if wish.max_tokens is not None and wish.min_tokens > wish.max_tokens:
        limit = f"it must be at most 'max_tokens', which is {wish.max_tokens}"
        raise RequestError(f"'min_tokens' is {wish.min_tokens}: {limit}", param="min_tokens")


async def prompt_ids(prompt: Prompt, served: Served, aside: Aside) -> tuple[int, ...]:
    """The one prompt as token ids. Raises RequestError."""
    ids: list[int] = []
    match prompt:
        case str(text) | [str(text)]:
            ids = await _encode(text, served, aside) if text else []
        case [[*items]] | [*items]:
            if not {int}.issuperset(map(type, items)):
                raise RequestError(
                    f"'prompt' has {len(items)} entries: this version supports one prompt per "
                    "request, a text or a list of token ids",
                    code="unsupported_parameter",
                    param="prompt",
                )
            ids = cast(list[int], items)
    if not ids:
        raise RequestError("'prompt' is empty: it needs at least one token", param="prompt")
    return tuple(ids)


def stop_strings(wish: CompletionRequest) -> tuple[str, ...]:
    return (wish.stop,) if isinstance(wish.stop, str) else tuple(wish.stop)


def engine_request(
    wish: CompletionRequest, prompt: tuple[int, ...], adapter: Adapter | None, served: Served
) -> Request:
    """The wish as the engine takes it. Raises RequestError for what can never be served."""
    if wish.stop and not served.tokenizer.has_text:
        raise RequestError(
            "'stop' needs text, but the model directory has no tokenizer: leave it out",
            code="no_tokenizer",
            param="stop",
        )
    max_tokens = _max_tokens(wish, len(prompt), served.info)
    _check_vocabulary(prompt, served.info.vocab_size)
    sampling = SamplingParams(
        max_tokens=max_tokens,
        min_tokens=wish.min_tokens,
        temperature=wish.temperature,
        top_p=wish.top_p,
        top_k=max(wish.top_k, 0),
        min_p=wish.min_p,
        seed=secrets.randbits(63) if wish.seed is None else wish.seed,
        stop_token_ids=() if wish.ignore_eos else served.info.eos_token_ids,
        num_logprobs=wish.logprobs,
    )
    return Request(f"cmpl-{uuid.uuid4().hex}", prompt, sampling, adapter, wish.cache_salt)


async def _encode(text: str, served: Served, aside: Aside) -> list[int]:
    tokenizer, max_tokens = served.tokenizer, served.info.max_model_len
    if tokenizer.is_too_long(text, max_tokens):
        raise RequestError(
            f"the prompt has {len(text)} characters, which is more than {max_tokens} tokens, "
            "the whole context, can hold",
            code="context_length_exceeded",
            param="prompt",
        )
    if len(text) < LONG_PROMPT_CHARS:
        return tokenizer.encode(text)
    return await aside.run(tokenizer.encode, text)


def _max_tokens(wish: CompletionRequest, num_prompt_tokens: int, info: EngineInfo) -> int:
    """The limit of the output, which fits into the context together with the prompt."""
    room = info.max_model_len - num_prompt_tokens
    least = max(1, wish.min_tokens)
    wanted = wish.max_tokens or max(least, min(DEFAULT_MAX_TOKENS, room))
    if wanted > room:
        raise RequestError(
            f"the prompt has {num_prompt_tokens} tokens and the output up to {wanted}: "
            f"{wanted - room} more than the context of {info.max_model_len}",
            code="context_length_exceeded",
            param="max_tokens" if room >= least else "prompt",
        )
    return wanted


def _check_vocabulary(ids: Sequence[int], vocab_size: int) -> None:
    if min(ids) >= 0 and max(ids) < vocab_size:
        return
    index = next(index for index, token in enumerate(ids) if not 0 <= token < vocab_size)
    raise RequestError(
        f"token {index} of 'prompt' is {str(ids[index])[:40]}: "
        f"the model's vocabulary is 0 to {vocab_size - 1}",
        param="prompt",
    )
