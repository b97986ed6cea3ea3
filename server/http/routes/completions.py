"""POST /v1/completions."""

import time
from functools import partial

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from motet.client.protocol import CompletionRequest
from motet.errors import RequestError
from motet.server.http.access import tenant_of
from motet.server.http.body import read_wish
from motet.server.http.reply import reply
from motet.server.http.service import Service
from motet.server.openai.agent_fields import caller_of
from motet.server.openai.completion_form import CompletionForm
from motet.server.text.jobs import Job, check_num_choices
from motet.server.text.prompts import encode_prompts, is_long, num_prompts

DEFAULT_MAX_TOKENS = 16  # OpenAI's


async def create_completion(service: Service, http: HttpRequest) -> Response:
    """Complete prompts, as one answer or as a stream of events."""
    arrived_s = time.monotonic()
    served = service.served
    wish = await read_wish(service, http, CompletionRequest)
    if wish.best_of is not None and wish.best_of != wish.n:
        raise RequestError(
            f"'best_of' is {wish.best_of}: this version leaves no choice out, so it must be "
            f"'n', which is {wish.n}",
            code="unsupported_parameter",
            param="best_of",
        )
    caller = caller_of(wish, http.headers, tenant_of(http.scope))
    adapter = await service.adapters.select(served, wish)
    check_num_choices(num_prompts(wish.prompt), wish.n)
    service.admit(num_prompts(wish.prompt) * wish.n)
    prompts = await service.aside.run_if(
        is_long(wish.prompt),
        encode_prompts,
        wish.prompt,
        served,
        wish.truncate_prompt_tokens,
        add_special_tokens=wish.add_special_tokens,
    )
    job = Job(
        prompts=prompts,
        fields=wish,
        adapter=adapter,
        cache_salt=caller.cache_salt,
        agent=caller.agent,
        priority=caller.priority,
        max_tokens=wish.max_tokens,
        default_max_tokens=served.defaults.max_tokens or DEFAULT_MAX_TOKENS,
        num_logprobs=wish.logprobs,
        echo=wish.echo,
    )
    form = partial(CompletionForm, wish, job, served.tokenizer)
    return await reply(service, http, wish, job, form, id_prefix="cmpl-", arrived_s=arrived_s)
