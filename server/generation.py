"""Tokens of the engine to pieces of a completion."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from motet.engine import FinishReason, TokenOutput
from motet.errors import MotetError, RequestError, Unavailable
from motet.server.metrics import Meter
from motet.server.text import TextStream

REQUEST_ERRORS = {
    FinishReason.REFUSED: "context_length_exceeded",
    FinishReason.OVERFLOW: "non_finite_output",  # trying again would not help
}
"""Ends that lie in the request -> code of the error."""


@dataclass(frozen=True, slots=True)
class GeneratedToken:
    token_id: int
    text_offset: int
    """Where its text starts in the completion, in characters."""
    logprob: float | None
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Delta:
    """What has come since the last one. The last one has a `finish_reason`."""

    text: str
    tokens: tuple[GeneratedToken, ...]
    finish_reason: FinishReason | None = None
    stop_reason: str | None = None
    """The stop string that ended the text."""
    num_cached_tokens: int = 0


async def generate(
    outputs: AsyncGenerator[list[TokenOutput], None], text: TextStream, meter: Meter
) -> AsyncGenerator[Delta, None]:
    """The completion, piece by piece. Closing it early aborts the request.

    Raises RequestError when the engine refuses the request and Unavailable when it fails.
    """
    reason = FinishReason.ABORT  # unless it comes to another end
    try:
        async with aclosing(outputs):
            async for batch in outputs:
                delta = _read(batch, text, meter)
                if delta.finish_reason is not None:
                    reason = delta.finish_reason
                    yield delta
                    return
                if delta.tokens:
                    yield delta
                if batch[-1].finish_reason is not None:
                    reason = batch[-1].finish_reason
                    raise _failure(batch[-1])
    finally:
        meter.finish(reason)


def merge(deltas: Sequence[Delta]) -> Delta:
    """All pieces as one."""
    last = deltas[-1]
    return Delta(
        "".join(delta.text for delta in deltas),
        tuple(token for delta in deltas for token in delta.tokens),
        last.finish_reason,
        last.stop_reason,
        deltas[0].num_cached_tokens,
    )


def _read(batch: list[TokenOutput], text: TextStream, meter: Meter) -> Delta:
    """Take the tokens of `batch` up to the end of the text."""
    pieces: list[str] = []
    tokens: list[GeneratedToken] = []
    reason: FinishReason | None = None
    for output in batch:
        if output.token_id is not None:
            meter.token()
            tokens.append(
                GeneratedToken(output.token_id, text.num_chars, output.logprob, output.top)
            )
            if output.finish_reason is not FinishReason.STOP:  # end of sequence has no text
                pieces.append(text.push(output.token_id))
        if output.finish_reason in (FinishReason.STOP, FinishReason.LENGTH):
            pieces.append(text.finish())
            reason = output.finish_reason
        if text.matched is not None:
            reason = FinishReason.STOP
            break
    return Delta("".join(pieces), tuple(tokens), reason, text.matched, batch[0].num_cached_tokens)


def _failure(output: TokenOutput) -> MotetError:
    message = output.error or f"the request ended early: {output.finish_reason}"
    if output.finish_reason in REQUEST_ERRORS:
        return RequestError(message, code=REQUEST_ERRORS[output.finish_reason])
    return Unavailable(message)
