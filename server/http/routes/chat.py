"""POST /v1/chat/completions."""

import time
from functools import partial

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from motet.client.protocol import ChatRequest
from motet.errors import RequestError
from motet.server.http.access import tenant_of
from motet.server.http.body import read_wish
from motet.server.http.reply import reply
from motet.server.http.service import Service
from motet.server.openai.agent_fields import caller_of
from motet.server.openai.chat_form import ChatForm
from motet.server.text.jobs import Job
from motet.server.text.prompts import render_conversation


async def create_chat_completion(service: Service, http: HttpRequest) -> Response:
    """Say the next message of a conversation, as one answer or as a stream of events."""
    arrived_s = time.monotonic()
    served = service.served
    wish = await read_wish(service, http, ChatRequest)
    _check(wish)
    caller = caller_of(wish, http.headers, tenant_of(http.scope))
    adapter = await service.adapters.select(served, wish)
    service.admit(wish.n)
    job = Job(
        prompts=[await service.aside.run(render_conversation, wish, served, adapter)],
        fields=wish,
        adapter=adapter,
        cache_salt=caller.cache_salt,
        agent=caller.agent,
        priority=caller.priority,
        max_tokens=_max_tokens(wish),
        default_max_tokens=served.defaults.max_tokens,
        num_logprobs=(wish.top_logprobs or 0) if wish.logprobs else None,
    )
    form = partial(ChatForm, wish, job, served.tokenizer)
    return await reply(service, http, wish, job, form, id_prefix="chatcmpl-", arrived_s=arrived_s)


def _check(wish: ChatRequest) -> None:
    """Refuse what contradicts itself."""
    if wish.top_logprobs is not None and not wish.logprobs:
        raise RequestError("'top_logprobs' needs 'logprobs': true", param="top_logprobs")


def _max_tokens(wish: ChatRequest) -> int | None:
    """Which of its two names the limit has."""
    limits = {wish.max_tokens, wish.max_completion_tokens} - {None}
    if len(limits) > 1:
        raise RequestError(
            f"'max_tokens' is {wish.max_tokens} and 'max_completion_tokens' is "
            f"{wish.max_completion_tokens}: they mean the same, send one",
            param="max_completion_tokens",
        )
    return next(iter(limits), None)
