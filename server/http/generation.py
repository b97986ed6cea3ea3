"""The choices of one job, generated together in one stream of the engine."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from motet.engine import Engine, FinishReason, TokenOutput
from motet.server.http.metrics import Meter
from motet.server.text.choices import Choice, Delta, by_request


async def generate(
    engine: Engine, choices: Sequence[Choice], meters: Sequence[Meter]
) -> AsyncGenerator[list[Delta], None]:
    """The next pieces of the choices, each time at least one, until all have ended.

    A choice that ends before its request has it aborted; closing the iterator early aborts all.
    Raises RequestError when the engine refuses a request and Unavailable when it fails, in both
    cases after the pieces that came before.
    """
    unfinished = {choice.request.request_id: choice for choice in choices}
    try:
        async with aclosing(engine.generate(*(choice.request for choice in choices))) as stream:
            async for outputs in stream:
                deltas = []
                for request_id, own in by_request(outputs):
                    if request_id in unfinished:  # else it came before the abort took effect
                        choice = unfinished[request_id]
                        deltas.append(_read(choice, own, meters[choice.index]))
                        if choice.is_finished:
                            del unfinished[request_id]
                            if own[-1].finish_reason is None and unfinished:
                                engine.abort(request_id)
                if said := [delta for delta in deltas if delta.tokens or delta.finish_reason]:
                    yield said
                for delta in deltas:
                    if delta.failure is not None:
                        raise delta.failure
                if not unfinished:
                    return
    finally:
        for choice in unfinished.values():
            meters[choice.index].finish(FinishReason.ABORT)


def _read(choice: Choice, outputs: Sequence[TokenOutput], meter: Meter) -> Delta:
    delta = choice.read(outputs)
    for _ in delta.tokens:
        meter.token()
    if reason := delta.finish_reason or (delta.failure and outputs[-1].finish_reason):
        meter.finish(reason)
    return delta
