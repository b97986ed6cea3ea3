"""From the engine's tokens to pieces of text: one Choice for each of its requests.

Nothing here knows a clock, a loop or HTTP: generating in the same process reads here as well.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from motet.engine import FinishReason, Request, TokenOutput
from motet.errors import MotetError, RequestError, Unavailable, error_named
from motet.server.text.jobs import Job
from motet.server.text.stop_strings import StopStrings
from motet.server.text.text_stream import TextStream
from motet.server.text.tokenizer import Spelling, Tokenizer

REQUEST_ERRORS = {
    FinishReason.REFUSED: "context_length_exceeded",
    FinishReason.OVERFLOW: "non_finite_output",  # trying again would not help
}
"""Ends that lie in the request -> code of the error."""
ENDS = (FinishReason.STOP, FinishReason.LENGTH)
"""Those that are no failure."""


@dataclass(frozen=True, slots=True)
class Token:
    token_id: int
    text_offset: int
    """Where its text starts in the text of the choice, in characters."""
    logprob: float | None = None
    """None if nobody asked, and for the first token of a prompt."""
    top: tuple[tuple[int, float], ...] = ()
    is_text: bool = True
    """False for special tokens and for the token that ends the text: they read as nothing."""


@dataclass(frozen=True, slots=True)
class Delta:
    """What has come of a choice since the last one. The last one has an end or a failure."""

    choice: int
    """Which one."""
    text: str
    tokens: tuple[Token, ...]
    """What was generated. The tokens of a stop string count, although the text ends before it."""
    echoed: tuple[Token, ...] = ()
    """Tokens of the prompt with which the text begins, if their logprobs are wanted."""
    finish_reason: FinishReason | None = None
    """STOP or LENGTH."""
    stop_reason: str | int | None = None
    """The stop string or stop token id that ended the text."""
    num_cached_tokens: int = 0
    adapter_digest: str | None = None
    """In the first one: the content that the request runs on."""
    failure: MotetError | None = None
    """Why nothing follows although the text has not ended."""


class Choice:
    """Reads the outputs of one request up to the end of its text.

    The text can end before the request does, at a stop string: whoever drives the engine then
    aborts the request and reads no more of it.
    """

    def __init__(
        self,
        index: int,
        request: Request,
        job: Job,
        tokenizer: Tokenizer,
        echo: Spelling | None = None,
    ) -> None:
        """`echo` is the prompt, if the text begins with it."""
        fields = job.fields
        self.index = index
        self.request = request
        self.is_finished = False
        """Whether the last piece has been read."""
        self._tokenizer = tokenizer
        self._echo = echo
        self._prompt_chars = len(echo.text) if echo else 0
        self._stop_token_ids = frozenset(fields.stop_token_ids)
        self._keeps_stop = fields.include_stop_str_in_output
        stops = StopStrings(job.stop_strings, keep_match=self._keeps_stop)
        detokenizer = tokenizer.detokenizer(request.prompt)
        self._text = TextStream(detokenizer, stops, fields.min_tokens)

    def read(self, outputs: Sequence[TokenOutput]) -> Delta:
        """The next outputs of the request, at least one, as one piece."""
        text, echoed = self._begin(outputs[0])
        tokens: list[Token] = []
        finish_reason: FinishReason | None = None
        stop_reason: str | int | None = None
        failure: MotetError | None = None
        for output in outputs:
            if output.token_id is not None:
                text += self._push(output.token_id, output, tokens)
            if output.finish_reason in ENDS:
                text += self._text.finish()
                finish_reason, stop_reason = output.finish_reason, self._stop_token(output)
            elif output.finish_reason is not None:
                failure = _failure(output)
            if self._text.matched is not None:
                finish_reason, stop_reason = FinishReason.STOP, self._text.matched
                break
        self.is_finished = finish_reason is not None or failure is not None
        return Delta(
            self.index,
            text,
            tuple(tokens),
            echoed,
            finish_reason,
            stop_reason,
            outputs[0].num_cached_tokens,
            outputs[0].adapter_digest,
            failure,
        )

    def _begin(self, first: TokenOutput) -> tuple[str, tuple[Token, ...]]:
        """The echo, once, unless the prompt was not even computed."""
        echo, self._echo = self._echo, None
        if echo is None or first.finish_reason not in (None, *ENDS):
            return "", ()
        if self.request.sampling.num_prompt_logprobs is None:
            return echo.text, ()
        known = [(None, ()), *((entry.logprob, entry.top) for entry in first.prompt_logprobs)]
        placed = zip(self.request.prompt, echo.offsets, known, strict=True)
        return echo.text, tuple(Token(index, at, *entry) for index, at, entry in placed)

    def _push(self, token_id: int, output: TokenOutput, tokens: list[Token]) -> str:
        """Add the token to `tokens`; the text that is safe to show after it."""
        # End of sequence is never part of the text; a stop token is, if so wished.
        is_shown = output.finish_reason is not FinishReason.STOP or (
            self._keeps_stop and token_id in self._stop_token_ids
        )
        offset = self._prompt_chars + self._text.num_chars
        is_text = is_shown and not self._tokenizer.is_special(token_id)
        tokens.append(Token(token_id, offset, output.logprob, output.top, is_text))
        return self._text.push(token_id) if is_shown else ""

    def _stop_token(self, output: TokenOutput) -> int | None:
        """The stop token that ended the request, if one of the client's did."""
        is_stop = output.finish_reason is FinishReason.STOP
        return output.token_id if is_stop and output.token_id in self._stop_token_ids else None


def choices_of(job: Job, requests: Sequence[Request], tokenizer: Tokenizer) -> list[Choice]:
    """One for each of the job's requests. Long prompts with `echo` take a while.

    Raises RequestError when the job needs text and there is no tokenizer.
    """
    if job.stop_strings and not tokenizer.has_text:
        raise RequestError(
            "'stop' needs text, but the model directory has no tokenizer: leave it out",
            code="no_tokenizer",
            param="stop",
        )
    echoes = [tokenizer.spelled(prompt.ids) if job.echo else None for prompt in job.prompts]
    n = job.fields.n
    return [
        Choice(index, request, job, tokenizer, echoes[index // n])
        for index, request in enumerate(requests)
    ]


def by_request(outputs: Iterable[TokenOutput]) -> Iterable[tuple[str, list[TokenOutput]]]:
    """The outputs of each request, which is named by its id."""
    grouped: dict[str, list[TokenOutput]] = {}
    for output in outputs:
        grouped.setdefault(output.request_id, []).append(output)
    return grouped.items()


def merged(deltas: Sequence[Delta]) -> Delta:
    """All pieces of one choice as one."""
    first, last = deltas[0], deltas[-1]
    return Delta(
        first.choice,
        "".join(delta.text for delta in deltas),
        tuple(token for delta in deltas for token in delta.tokens),
        first.echoed,
        last.finish_reason,
        last.stop_reason,
        first.num_cached_tokens,
        first.adapter_digest,
        last.failure,
    )


def _failure(output: TokenOutput) -> MotetError:
    message = output.error or f"the request ended early: {output.finish_reason}"
    if output.finish_reason in REQUEST_ERRORS:
        return RequestError(message, code=REQUEST_ERRORS[output.finish_reason])
    if output.error_kind is not None:
        return error_named(output.error_kind, message)
    return Unavailable(message)
