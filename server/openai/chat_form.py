"""Chat completions in OpenAI's shape."""

from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType

from motet.client.protocol import (
    AssistantMessage,
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatDelta,
    ChatLogprobs,
    ChatRequest,
    ChatResponse,
    ChatTokenLogprob,
    TopLogprob,
    Usage,
)
from motet.server.openai.answers import Form, finite
from motet.server.text.choices import Delta, Token


class ChatForm(Form[ChatRequest]):
    """Shapes the answer to one ChatRequest."""

    def whole(self, choices: Sequence[Delta], usage: Usage) -> ChatResponse:
        return ChatResponse(
            id=self._head.id,
            created=self._head.created_s,
            model=self._head.model,
            choices=[self._whole_choice(delta) for delta in choices],
            usage=usage,
            system_fingerprint=self._head.fingerprint,
            prompt_token_ids=self._prompt_token_ids(),
        )

    def chunks(self, delta: Delta, usage: Usage | None) -> list[Struct]:
        chunks: list[Struct] = []
        if delta.choice not in self._begun:
            chunks.append(self._opening(delta, usage))
        if self._has_content(delta):
            chunks.append(self._chunk([self._content(delta)], usage))
        if delta.finish_reason is not None:
            chunks.append(self._chunk([self._end(delta)], usage))
        return chunks

    def usage_chunk(self, usage: Usage) -> ChatChunk:
        return self._chunk([], usage)

    def _has_content(self, delta: Delta) -> bool:
        shows_tokens = self._wish.logprobs or self._wish.return_token_ids
        return bool(delta.text or (shows_tokens and delta.tokens))

    def _chunk(
        self,
        choices: list[ChatChunkChoice],
        usage: Usage | None,
        prompt_token_ids: list[int] | UnsetType = UNSET,
    ) -> ChatChunk:
        return ChatChunk(
            id=self._head.id,
            created=self._head.created_s,
            model=self._head.model,
            choices=choices,
            usage=usage,
            system_fingerprint=self._head.fingerprint,
            prompt_token_ids=prompt_token_ids,
        )

    def _whole_choice(self, delta: Delta) -> ChatChoice:
        return ChatChoice(
            index=delta.choice,
            message=AssistantMessage(content=delta.text),
            logprobs=self._logprobs(delta.tokens),
            finish_reason=delta.finish_reason,
            stop_reason=delta.stop_reason,
            token_ids=self._token_ids(delta.tokens),
        )

    def _opening(self, delta: Delta, usage: Usage | None) -> ChatChunk:
        """Whose turn it is, with the prompt in the very first."""
        prompt_token_ids = UNSET if self._begun else self._prompt_token_ids()
        self._begun.add(delta.choice)
        whose = ChatDelta(role="assistant", content="")
        choice = ChatChunkChoice(index=delta.choice, delta=whose, token_ids=self._token_ids(()))
        return self._chunk([choice], usage, prompt_token_ids)

    def _content(self, delta: Delta) -> ChatChunkChoice:
        return ChatChunkChoice(
            index=delta.choice,
            delta=ChatDelta(content=delta.text),
            logprobs=self._logprobs(delta.tokens),
            token_ids=self._token_ids(delta.tokens),
        )

    def _end(self, delta: Delta) -> ChatChunkChoice:
        return ChatChunkChoice(
            index=delta.choice,
            delta=ChatDelta(),
            finish_reason=delta.finish_reason,
            stop_reason=delta.stop_reason,
            token_ids=self._token_ids(()),
        )

    def _prompt_token_ids(self) -> list[int] | UnsetType:
        return list(self._job.prompts[0].ids) if self._wish.return_token_ids else UNSET

    def _logprobs(self, tokens: Sequence[Token]) -> ChatLogprobs | None:
        """Of the tokens that are text: joined, they read as the text."""
        if not self._wish.logprobs:
            return None
        return ChatLogprobs(content=[self._logprob(token) for token in tokens if token.is_text])

    def _logprob(self, token: Token) -> ChatTokenLogprob:
        top = token.top[: self._wish.top_logprobs or 0]
        return ChatTokenLogprob(
            token=self._tokenizer.token_text(token.token_id),
            logprob=finite(token.logprob),
            bytes=list(self._tokenizer.token_bytes(token.token_id)),
            top_logprobs=[self._top_logprob(token_id, logprob) for token_id, logprob in top],
        )

    def _top_logprob(self, token_id: int, logprob: float) -> TopLogprob:
        return TopLogprob(
            token=self._tokenizer.token_text(token_id),
            logprob=finite(logprob),
            bytes=list(self._tokenizer.token_bytes(token_id)),
        )
