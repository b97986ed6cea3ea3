"""POST /v1/agents/{agent}/warm."""

import time
import uuid
from collections.abc import Sequence
from contextlib import aclosing

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from motet.client.protocol import ChatRequest, SamplingFields, WarmAnswer, WarmRequest
from motet.engine import Adapter, AgentCall
from motet.server.http.body import read_body
from motet.server.http.generation import generate
from motet.server.http.responses import json_response
from motet.server.http.routes.agents import adapter_of, agent_key
from motet.server.http.service import Service
from motet.server.http.stream import while_connected
from motet.server.text.choices import choices_of
from motet.server.text.jobs import Job, Prompt, engine_requests
from motet.server.text.prompts import encode_prompts, render_conversation
from motet.server.text.served import Served

LAST_OF_ALL = 2.0**32
"""Behind whatever priority a request can have."""


async def warm_agent(service: Service, http: HttpRequest) -> Response:
    """Compute what the agent's prompts begin with, when nothing else waits."""
    arrived_s = time.monotonic()
    served = service.served
    wish = await read_body(service, http, WarmRequest)
    key = agent_key(http)
    service.agents.rates.admit_hints(key.tenant)
    adapter = await adapter_of(service.adapters.resolve, served, wish)
    service.admit(1)
    prompts = await service.aside.run(_prompts, wish, served, adapter)
    job = Job(
        prompts=prompts,
        fields=SamplingFields(),
        adapter=adapter,
        cache_salt=wish.cache_salt,
        max_tokens=0,
        only_prompt=True,
        agent=AgentCall(key),
        priority=LAST_OF_ALL,
    )
    num_cached = await while_connected(http, _compute(service, served, job, arrived_s))
    num_tokens = len(prompts[0].ids)
    return json_response(
        WarmAnswer(outcome="accepted", prompt_tokens=num_tokens, cached_tokens=num_cached)
    )


def _prompts(wish: WarmRequest, served: Served, adapter: Adapter | None) -> Sequence[Prompt]:
    """Takes a while for a long text."""
    if wish.prompt is not None:
        special = wish.add_special_tokens
        return encode_prompts([wish.prompt], served, add_special_tokens=special)
    assert wish.messages is not None  # one of the two is given
    conversation = ChatRequest(
        messages=wish.messages,
        add_generation_prompt=wish.add_generation_prompt,
        chat_template_kwargs=wish.chat_template_kwargs,
    )
    return [render_conversation(conversation, served, adapter)]


async def _compute(service: Service, served: Served, job: Job, arrived_s: float) -> int:
    """Of how many tokens the KV was there."""
    ends = served.formats.of(job.adapter).eos_token_ids
    requests = engine_requests(job, f"warm-{uuid.uuid4().hex}", served.info, ends)
    meters = [service.metrics.meter(len(requests[0].prompt), arrived_s)]
    deltas = generate(service.engine, choices_of(job, requests, served.tokenizer), meters)
    num_cached = 0
    async with aclosing(deltas):
        async for batch in deltas:
            num_cached = max(num_cached, *(delta.num_cached_tokens for delta in batch), 0)
    return num_cached
