"""POST /v1/completions."""

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from motet.client.protocol import CompletionRequest
from motet.server.answers import Answer
from motet.server.body import convert, read_json
from motet.server.errors import body_of, is_internal
from motet.server.generation import Delta, generate, merge
from motet.server.requests import check_fields, engine_request, prompt_ids, stop_strings
from motet.server.responses import json_response
from motet.server.service import Service
from motet.server.stream import DONE, EventStream, event, while_connected
from motet.server.text import TextStream

log = logging.getLogger(__name__)


async def create_completion(service: Service, http: HttpRequest) -> Response:
    """Complete a prompt, as one answer or as a stream of events."""
    arrived_s = time.monotonic()
    served = service.served
    fields = await read_json(http, service.aside)
    service.note_ignored(fields.keys() - set(CompletionRequest.__struct_fields__))
    wish = convert(fields, CompletionRequest)
    check_fields(wish)
    adapter = served.adapter_for(wish)
    service.admit(wish.n)
    prompt = await prompt_ids(wish.prompt, served, service.aside)
    request = engine_request(wish, prompt, adapter, served)

    detokenizer = served.tokenizer.detokenizer(prompt)
    text = TextStream(detokenizer, stop_strings(wish), wish.min_tokens)
    meter = service.metrics.meter(len(prompt), arrived_s)
    deltas = generate(service.engine.generate(request), text, meter)
    answer = Answer(wish, request, served)
    if wish.stream:
        first = await while_connected(http, anext(deltas))  # a refusal still gets its status
        return EventStream(_events(answer, first, deltas))
    return json_response(answer.whole(await while_connected(http, _collect(deltas))))


async def _collect(deltas: AsyncGenerator[Delta, None]) -> Delta:
    async with aclosing(deltas):
        return merge([delta async for delta in deltas])


async def _events(
    answer: Answer, first: Delta, deltas: AsyncGenerator[Delta, None]
) -> AsyncGenerator[bytes, None]:
    """The stream. An error ends it with an error event and without [DONE]."""
    async with aclosing(deltas):
        try:
            for chunk in answer.chunks(first):
                yield event(chunk)
            async for delta in deltas:
                for chunk in answer.chunks(delta):
                    yield event(chunk)
        except Exception as error:
            if is_internal(error):
                log.exception("stream %s failed", answer.request_id)
            yield event(body_of(error))
        else:
            yield DONE
