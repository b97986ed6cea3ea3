"""Completions in OpenAI's shape."""

import time
from collections.abc import Sequence

from msgspec import UNSET

from motet.client.protocol import (
    CompletionChoice,
    CompletionChunk,
    CompletionRequest,
    CompletionResponse,
    Logprobs,
    PromptTokensDetails,
    StreamOptions,
    Usage,
)
from motet.engine import Request
from motet.server.generation import Delta, GeneratedToken
from motet.server.service import Served
from motet.server.text import Tokenizer

LOWEST_LOGPROB = -9999.0  # stands for minus infinity, which JSON does not have


class Answer:
    """Shapes the pieces of one completion, and counts their tokens."""

    def __init__(self, wish: CompletionRequest, request: Request, served: Served) -> None:
        self._wish = wish
        self._request = request
        self._tokenizer = served.tokenizer
        self._created_s = int(time.time())
        self._fingerprint = _fingerprint(request, served)
        self._options = wish.stream_options or StreamOptions()
        self._num_tokens = 0
        self._num_cached_tokens = 0

    @property
    def request_id(self) -> str:
        return self._request.request_id

    def whole(self, delta: Delta) -> CompletionResponse:
        """The answer that is not streamed."""
        self._count(delta)
        return CompletionResponse(
            id=self.request_id,
            created=self._created_s,
            model=self._wish.model,
            choices=[self._choice(delta)],
            usage=self._usage(),
            system_fingerprint=self._fingerprint,
        )

    def chunks(self, delta: Delta) -> list[CompletionChunk]:
        """What a stream says next: content, then the end without content, then the usage."""
        self._count(delta)
        chunks = []
        if self._has_content(delta):
            content = Delta(delta.text, delta.tokens)
            chunks.append(self._chunk([self._choice(content)]))
        if delta.finish_reason is not None:
            end = Delta("", (), delta.finish_reason, delta.stop_reason)
            chunks.append(self._chunk([self._choice(end)]))
            if self._options.include_usage:
                chunks.append(self._chunk([], self._usage()))
        return chunks

    def _has_content(self, delta: Delta) -> bool:
        shows_tokens = self._wish.return_token_ids or self._wish.logprobs is not None
        return bool(delta.text or (shows_tokens and delta.tokens))

    def _count(self, delta: Delta) -> None:
        self._num_tokens += len(delta.tokens)
        self._num_cached_tokens = max(self._num_cached_tokens, delta.num_cached_tokens)

    def _chunk(
        self, choices: list[CompletionChoice], usage: Usage | None = None
    ) -> CompletionChunk:
        return CompletionChunk(
            id=self.request_id,
            created=self._created_s,
            model=self._wish.model,
            choices=choices,
            usage=usage,
            system_fingerprint=self._fingerprint,
        )

    def _choice(self, delta: Delta) -> CompletionChoice:
        has_logprobs = self._wish.logprobs is not None and delta.tokens
        ids = [token.token_id for token in delta.tokens]
        return CompletionChoice(
            index=0,
            text=delta.text,
            logprobs=_logprobs(delta.tokens, self._tokenizer) if has_logprobs else None,
            finish_reason=delta.finish_reason,
            stop_reason=delta.stop_reason,
            token_ids=ids if self._wish.return_token_ids else UNSET,
        )

    def _usage(self) -> Usage:
        num_prompt_tokens = len(self._request.prompt)
        return Usage(
            prompt_tokens=num_prompt_tokens,
            completion_tokens=self._num_tokens,
            total_tokens=num_prompt_tokens + self._num_tokens,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=self._num_cached_tokens),
        )


def _fingerprint(request: Request, served: Served) -> str:
    """Which weights answer: reloading an adapter with other content changes it."""
    adapter = request.adapter
    return f"{adapter.name}@{adapter.digest[:8]}" if adapter else served.name


def _logprobs(tokens: Sequence[GeneratedToken], tokenizer: Tokenizer) -> Logprobs:
    return Logprobs(
        tokens=[tokenizer.token_text(token.token_id) for token in tokens],
        token_logprobs=[_finite(token.logprob) for token in tokens],
        top_logprobs=[_top_logprobs(token, tokenizer) for token in tokens],
        text_offset=[token.text_offset for token in tokens],
    )


def _top_logprobs(token: GeneratedToken, tokenizer: Tokenizer) -> dict[str, float]:
    """By text; of two tokens that read the same, the less likely one is named by its id."""
    named: dict[str, float] = {}
    for token_id, logprob in dict([*token.top, (token.token_id, token.logprob)]).items():
        text = tokenizer.token_text(token_id)
        named[f"token_id:{token_id}" if text in named else text] = _finite(logprob)
    return named


def _finite(logprob: float | None) -> float:
    return LOWEST_LOGPROB if logprob is None else max(logprob, LOWEST_LOGPROB)
