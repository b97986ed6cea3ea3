"""A job over HTTP: as one answer, or as a stream of events."""

import logging
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from motet.client.protocol import GenerationRequest
from motet.server.http.aside import Aside
from motet.server.http.errors import body_of, is_internal
from motet.server.http.generation import generate
from motet.server.http.responses import json_response
from motet.server.http.service import Service
from motet.server.http.stream import DONE, EventStream, event, while_connected
from motet.server.openai.answers import Answer, Form, Head
from motet.server.text.choices import Delta, choices_of, merged
from motet.server.text.jobs import Job, engine_requests

log = logging.getLogger(__name__)

LONG_TOKENS = 2048
"""To spell more tokens would hold up every stream for milliseconds."""


async def reply(
    service: Service,
    http: HttpRequest,
    wish: GenerationRequest,
    job: Job,
    form: Callable[[Head], Form[Any]],
    *,
    id_prefix: str,
    arrived_s: float,
) -> Response:
    """What comes of `job`, which `wish` asked for. The body of `http` must have been read."""
    served = service.served
    answer_id = f"{id_prefix}{uuid.uuid4().hex}"
    ends = served.formats.of(job.adapter).eos_token_ids
    requests = engine_requests(job, answer_id, served.info, ends)
    choices = await service.aside.run_if(
        _is_long_echo(job), choices_of, job, requests, served.tokenizer
    )
    service.metrics.params(job.fields.n, job.max_tokens)
    meters = [
        # a prompt counts once, whatever the number of its choices
        service.metrics.meter(0 if request.sampling.choice else len(request.prompt), arrived_s)
        for request in requests
    ]
    deltas = generate(service.engine, choices, meters)

    def begun_with(first: Sequence[Delta]) -> tuple[Answer, dict[str, str]]:
        """Only what comes first tells which weights answer; a refusal still gets its status."""
        head = Head.of(answer_id, wish, job, served, first)
        return Answer(form(head), wish, job), head.headers

    if wish.stream:
        first = await while_connected(http, anext(deltas))
        answer, headers = begun_with(first)
        return EventStream(_events(answer_id, answer, service.aside, first, deltas), headers)
    whole = await while_connected(http, _collect(deltas))
    answer, headers = begun_with(whole)
    body = await service.aside.run_if(_is_long(whole), answer.whole, whole)
    return json_response(body, headers=headers)


async def _collect(deltas: AsyncGenerator[list[Delta], None]) -> list[Delta]:
    """Each choice in one piece."""
    pieces: dict[int, list[Delta]] = {}
    async with aclosing(deltas):
        async for batch in deltas:
            for delta in batch:
                pieces.setdefault(delta.choice, []).append(delta)
    return [merged(pieces[choice]) for choice in sorted(pieces)]


async def _events(
    answer_id: str,
    answer: Answer,
    aside: Aside,
    first: list[Delta],
    deltas: AsyncGenerator[list[Delta], None],
) -> AsyncGenerator[bytes, None]:
    """The stream. An error ends it with an error event and without [DONE]."""
    async with aclosing(deltas):
        try:
            # Only the first piece can be long: later ones are what a few steps generate.
            for chunk in await aside.run_if(_is_long(first), answer.chunks, first):
                yield event(chunk)
            async for batch in deltas:
                if events := b"".join(map(event, answer.chunks(batch))):
                    yield events
            for chunk in answer.last_chunks():
                yield event(chunk)
        except Exception as error:
            if is_internal(error):
                log.exception("stream %s failed", answer_id)
            yield event(body_of(error))
        else:
            yield DONE


def _is_long_echo(job: Job) -> bool:
    return job.echo and sum(len(prompt.ids) for prompt in job.prompts) > LONG_TOKENS


def _is_long(deltas: Sequence[Delta]) -> bool:
    """Whether spelling the logprobs takes long."""
    tokens = (token for delta in deltas for token in (*delta.echoed, *delta.tokens))
    return sum(len(token.top) for token in tokens) > LONG_TOKENS
