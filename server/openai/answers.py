"""Answers in OpenAI's shapes: what those of completions and of chat have in common."""

import string
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from motet.client.protocol import (
    AgentAnswer,
    GenerationRequest,
    PrefixAnswer,
    PromptTokensDetails,
    StreamOptions,
    Usage,
)
from motet.engine import Adapter
from motet.server.text.choices import Delta, Token
from motet.server.text.jobs import Job
from motet.server.text.served import Served
from motet.server.text.tokenizer import Tokenizer

W = TypeVar("W", bound=GenerationRequest)

LOWEST_LOGPROB = -9999.0  # stands for minus infinity, which JSON does not have
GENERATION_HEADER = "X-Adapter-Generation"
_HEADER_CHARS = string.punctuation.replace("%", "")


@dataclass(frozen=True, slots=True)
class Head:
    """What every part of an answer repeats."""

    id: str
    created_s: int
    model: str
    """As the request names it."""
    fingerprint: str
    """Which weights answer: reloading an adapter with other content changes it."""

    @classmethod
    def of(
        cls,
        answer_id: str,
        wish: GenerationRequest,
        job: Job,
        served: Served,
        first: Sequence[Delta],
    ) -> "Head":
        """`first` is what has come first: only that tells what an adapter was read to be."""
        fingerprint = _fingerprint(job.adapter, first) if job.adapter else served.name
        return cls(answer_id, int(time.time()), wish.model or served.name, fingerprint)

    @property
    def headers(self) -> dict[str, str]:
        """Which weights answer, percent-encoded where a header cannot have the character."""
        return {GENERATION_HEADER: quote(self.fingerprint, safe=_HEADER_CHARS)}


def _fingerprint(adapter: Adapter, first: Sequence[Delta]) -> str:
    digests = (delta.adapter_digest for delta in first if delta.adapter_digest is not None)
    digest = next(digests, adapter.digest)
    assert digest is not None, "the first output tells what an adapter was read to be"
    return f"{adapter.name}@{digest[:8]}"


class Form(ABC, Generic[W]):
    """Shapes the answer to one wish."""

    def __init__(self, wish: W, job: Job, tokenizer: Tokenizer, head: Head) -> None:
        self._wish = wish
        self._job = job
        self._tokenizer = tokenizer
        self._head = head
        self._begun: set[int] = set()  # choices of which the stream has said something

    @abstractmethod
    def whole(self, choices: Sequence[Delta], usage: Usage) -> Struct:
        """The answer that is not streamed; `choices` in their order."""

    @abstractmethod
    def chunks(self, delta: Delta, usage: Usage | None) -> list[Struct]:
        """What a stream says next of one choice: content, then the end without content."""

    @abstractmethod
    def usage_chunk(self, usage: Usage) -> Struct:
        """What a stream says after all choices."""

    def _token_ids(self, tokens: Sequence[Token]) -> list[int] | UnsetType:
        return [token.token_id for token in tokens] if self._wish.return_token_ids else UNSET


class Answer:
    """Counts the tokens of one answer and has a Form shape it."""

    def __init__(self, form: Form[Any], wish: GenerationRequest, job: Job) -> None:
        self._form = form
        self._options = wish.stream_options or StreamOptions()
        self._has_agent = wish.agent is not None
        self._digest = job.adapter.digest if job.adapter else None
        self._n = job.fields.n
        self._num_prompt_tokens = sum(len(prompt.ids) for prompt in job.prompts)
        self._num_tokens = 0
        self._num_cached_tokens = [0] * len(job.prompts)

    def whole(self, choices: Sequence[Delta]) -> Struct:
        """The answer that is not streamed."""
        for delta in choices:
            self._count(delta)
        in_order = sorted(choices, key=lambda delta: delta.choice)
        return self._with_agent(self._form.whole(in_order, self._usage()))

    def chunks(self, deltas: Sequence[Delta]) -> list[Struct]:
        """What a stream says next."""
        chunks: list[Struct] = []
        for delta in deltas:
            self._count(delta)
            usage = self._usage() if self._options.continuous_usage_stats else None
            chunks += self._form.chunks(delta, usage)
            if delta.finish_reason is not None:
                chunks[-1] = self._with_agent(chunks[-1])
        return chunks

    def last_chunks(self) -> list[Struct]:
        """What a stream says when all choices have ended."""
        return [self._form.usage_chunk(self._usage())] if self._options.include_usage else []

    def _count(self, delta: Delta) -> None:
        self._num_tokens += len(delta.tokens)
        self._digest = delta.adapter_digest or self._digest
        prompt, place = divmod(delta.choice, self._n)
        if place == 0:  # later ones may find what this one has computed
            self._num_cached_tokens[prompt] = delta.num_cached_tokens

    def _with_agent(self, last: Struct) -> Struct:
        """The end of a choice, or of all, with what the agent that asked has of it."""
        if not self._has_agent:
            return last
        prefix = PrefixAnswer(cached_tokens=sum(self._num_cached_tokens))
        return replace(last, agent_state=AgentAnswer(prefix=prefix, adapter=self._digest))

    def _usage(self) -> Usage:
        cached = PromptTokensDetails(cached_tokens=sum(self._num_cached_tokens))
        return Usage(
            prompt_tokens=self._num_prompt_tokens,
            completion_tokens=self._num_tokens,
            total_tokens=self._num_prompt_tokens + self._num_tokens,
            prompt_tokens_details=cached,
        )


def finite(logprob: float | None) -> float:
    """As JSON can have it."""
    return LOWEST_LOGPROB if logprob is None else max(logprob, LOWEST_LOGPROB)
