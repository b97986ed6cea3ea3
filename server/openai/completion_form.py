"""Completions in OpenAI's shape."""

from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType

from motet.client.protocol import (
    CompletionChoice,
    CompletionChunk,
    CompletionRequest,
    CompletionResponse,
    Logprobs,
    Usage,
)
from motet.server.openai.answers import Form, finite
from motet.server.text.choices import Delta, Token
from motet.server.text.tokenizer import Tokenizer


class CompletionForm(Form[CompletionRequest]):
    """Shapes the answer to one CompletionRequest."""

    def whole(self, choices: Sequence[Delta], usage: Usage) -> CompletionResponse:
        return CompletionResponse(
            id=self._head.id,
            created=self._head.created_s,
            model=self._head.model,
            choices=[self._whole_choice(delta) for delta in choices],
            usage=usage,
            system_fingerprint=self._head.fingerprint,
        )

    def chunks(self, delta: Delta, usage: Usage | None) -> list[Struct]:
        chunks: list[Struct] = []
        if self._has_content(delta):
            chunks.append(self._chunk([self._content(delta)], usage))
        if delta.finish_reason is not None:
            chunks.append(self._chunk([self._end(delta)], usage))
        return chunks

    def usage_chunk(self, usage: Usage) -> CompletionChunk:
        return self._chunk([], usage)

    def _has_content(self, delta: Delta) -> bool:
        if self._wish.logprobs is not None and (delta.tokens or delta.echoed):
            return True
        return bool(delta.text or (self._wish.return_token_ids and delta.tokens))

    def _chunk(self, choices: list[CompletionChoice], usage: Usage | None) -> CompletionChunk:
        return CompletionChunk(
            id=self._head.id,
            created=self._head.created_s,
            model=self._head.model,
            choices=choices,
            usage=usage,
            system_fingerprint=self._head.fingerprint,
        )

    def _whole_choice(self, delta: Delta) -> CompletionChoice:
        return CompletionChoice(
            index=delta.choice,
            text=delta.text,
            logprobs=self._logprobs(delta),
            finish_reason=delta.finish_reason,
            stop_reason=delta.stop_reason,
            token_ids=self._token_ids(delta.tokens),
            prompt_token_ids=self._prompt_token_ids(delta.choice),
        )

    def _content(self, delta: Delta) -> CompletionChoice:
        return CompletionChoice(
            index=delta.choice,
            text=delta.text,
            logprobs=self._logprobs(delta),
            token_ids=self._token_ids(delta.tokens),
            prompt_token_ids=self._prompt_token_ids(delta.choice),
        )

    def _end(self, delta: Delta) -> CompletionChoice:
        return CompletionChoice(
            index=delta.choice,
            text="",
            finish_reason=delta.finish_reason,
            stop_reason=delta.stop_reason,
            token_ids=self._token_ids(()),
            prompt_token_ids=self._prompt_token_ids(delta.choice),
        )

    def _prompt_token_ids(self, choice: int) -> list[int] | UnsetType:
        """With the first that is said of the choice."""
        if not self._wish.return_token_ids or choice in self._begun:
            return UNSET
        self._begun.add(choice)
        return list(self._job.prompts[choice // self._job.fields.n].ids)

    def _logprobs(self, delta: Delta) -> Logprobs | None:
        tokens = (*delta.echoed, *delta.tokens)
        if self._wish.logprobs is None or not tokens:
            return None
        first: list[None] = [None] if delta.echoed else []  # nothing comes before it
        others = tokens[len(first) :]
        return Logprobs(
            tokens=[self._tokenizer.token_text(token.token_id) for token in tokens],
            token_logprobs=[*first, *(finite(token.logprob) for token in others)],
            top_logprobs=[*first, *(_top_logprobs(token, self._tokenizer) for token in others)],
            text_offset=[token.text_offset for token in tokens],
        )


def _top_logprobs(token: Token, tokenizer: Tokenizer) -> dict[str, float]:
    """By text; of two tokens that read the same, the less likely one is named by its id."""
    named: dict[str, float] = {}
    for token_id, logprob in dict([*token.top, (token.token_id, token.logprob)]).items():
        text = tokenizer.token_text(token_id)
        named[f"token_id:{token_id}" if text in named else text] = finite(logprob)
    return named
