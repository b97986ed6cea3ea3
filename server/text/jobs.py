"""What a client wishes, checked and with every default resolved, as the engine's Requests.

Nothing here knows HTTP: generating in the same process starts here as well.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from motet.client.protocol import SamplingFields
from motet.engine import Adapter, AgentCall, EngineInfo, Request, SamplingParams
from motet.errors import RequestError

MAX_CHOICES = 512
"""Of one job: all of them are submitted at once."""

_MAX_SHOWN = 40  # characters of a wrong value that a message repeats
_TOKEN_ID = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Prompt:
    ids: tuple[int, ...]
    name: str = "prompt"
    """What errors call it, such as `prompt[3]`."""

    @property
    def field(self) -> str:
        """The field of the wish that it stands in."""
        return self.name.partition("[")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Prompts, and how to go on from each of them."""

    prompts: Sequence[Prompt]
    fields: SamplingFields
    adapter: Adapter | None = None
    cache_salt: str = ""
    max_tokens: int | None = None
    """Of each output; None: `default_max_tokens`, as far as the context has room."""
    default_max_tokens: int | None = None
    """None: all that the context has left."""
    num_logprobs: int | None = None
    echo: bool = False
    """Whether the text begins with the prompt; `max_tokens` may be 0 then."""
    only_prompt: bool = False
    """Whether nothing is said, and the prompt only computed: `max_tokens` is 0."""
    agent: AgentCall | None = None
    priority: float = 0.0
    """The lower goes first."""

    @property
    def stop_strings(self) -> tuple[str, ...]:
        stop = self.fields.stop
        return (stop,) if isinstance(stop, str) else tuple(stop)


def engine_requests(
    job: Job, job_id: str, info: EngineInfo, eos_token_ids: tuple[int, ...]
) -> list[Request]:
    """`n` requests for each prompt: choice k of prompt p is at p * n + k, and so named.

    `eos_token_ids` are the ends of what the job is on: the base model or its adapter. Raises
    RequestError for what can never be served.
    """
    fields = job.fields
    check_num_choices(len(job.prompts), fields.n)
    if job.max_tokens == 0 and not (job.echo or job.only_prompt):
        raise RequestError(
            "'max_tokens' is 0: it must be at least 1, except in a completion with 'echo'",
            param="max_tokens",
        )
    if job.max_tokens is not None and fields.min_tokens > job.max_tokens:
        limit = f"it must be at most 'max_tokens', which is {job.max_tokens}"
        raise RequestError(f"'min_tokens' is {fields.min_tokens}: {limit}", param="min_tokens")
    _check_vocabulary("stop_token_ids", fields.stop_token_ids, info.vocab_size)
    sampling = _sampling(job, info, eos_token_ids)
    requests: list[Request] = []
    for prompt in job.prompts:
        max_tokens = _max_tokens(job, prompt, info.max_model_len)
        _check_vocabulary(prompt.name, prompt.ids, info.vocab_size)
        for choice in range(fields.n):
            request_id = f"{job_id}-{len(requests)}"
            own = replace(sampling, max_tokens=max_tokens, choice=choice)
            requests.append(
                Request(
                    request_id,
                    prompt.ids,
                    own,
                    job.adapter,
                    job.cache_salt,
                    agent=job.agent,
                    priority=job.priority,
                )
            )
    return requests


def check_num_choices(num_prompts: int, n: int) -> None:
    """Raises RequestError when there would be more than MAX_CHOICES."""
    if num_prompts * n > MAX_CHOICES:
        raise RequestError(
            f"'prompt' ({num_prompts}) times 'n' ({n}) are {num_prompts * n} choices, more than "
            f"{MAX_CHOICES}: send them in several requests",
            param="n" if n > 1 else "prompt",
        )


def _max_tokens(job: Job, prompt: Prompt, max_model_len: int) -> int:
    """The limit of the output, which fits into the context together with the prompt."""
    num_prompt_tokens = len(prompt.ids)
    if not num_prompt_tokens:
        raise RequestError(
            f"'{prompt.name}' is empty: it needs at least one token", param=prompt.field
        )
    room = max_model_len - num_prompt_tokens
    least = max(0 if job.max_tokens == 0 else 1, job.fields.min_tokens)
    wanted = job.max_tokens
    if wanted is None:
        default = room if job.default_max_tokens is None else job.default_max_tokens
        wanted = max(least, min(default, room))
    if wanted > room:
        raise RequestError(
            f"'{prompt.name}' has {num_prompt_tokens} tokens and the output up to {wanted}: "
            f"{wanted - room} more than the context of {max_model_len}",
            code="context_length_exceeded",
            param="max_tokens" if room >= least else prompt.field,
        )
    return wanted


def _sampling(job: Job, info: EngineInfo, eos_token_ids: tuple[int, ...]) -> SamplingParams:
    """What all sequences of the job have in common."""
    fields = job.fields
    eos = () if fields.ignore_eos else eos_token_ids
    return SamplingParams(
        max_tokens=0,  # is each prompt's own
        min_tokens=fields.min_tokens,
        temperature=fields.temperature,
        top_p=fields.top_p,
        top_k=max(fields.top_k, 0),
        min_p=fields.min_p,
        repetition_penalty=fields.repetition_penalty,
        presence_penalty=fields.presence_penalty,
        frequency_penalty=fields.frequency_penalty,
        logit_bias=_logit_bias(fields.logit_bias, info.vocab_size),
        seed=secrets.randbits(63) if fields.seed is None else fields.seed,
        stop_token_ids=tuple(dict.fromkeys((*eos, *fields.stop_token_ids))),
        num_logprobs=job.num_logprobs,
        num_prompt_logprobs=job.num_logprobs if job.echo else None,
    )


def _logit_bias(wanted: dict[str, float], vocab_size: int) -> tuple[tuple[int, float], ...]:
    bias: dict[int, float] = {}
    for key, value in wanted.items():
        if not _TOKEN_ID.fullmatch(key) or int(key) >= vocab_size:
            raise RequestError(
                f"'logit_bias' has the key '{key[:_MAX_SHOWN]}': keys are token ids in decimal "
                f"digits, and the model's vocabulary is 0 to {vocab_size - 1}",
                param="logit_bias",
            )
        if int(key) in bias:
            raise RequestError(f"'logit_bias' has token {int(key)} twice", param="logit_bias")
        bias[int(key)] = value
    return tuple(bias.items())


def _check_vocabulary(name: str, ids: Sequence[int], vocab_size: int) -> None:
    if not ids or (min(ids) >= 0 and max(ids) < vocab_size):
        return
    index = next(index for index, token in enumerate(ids) if not 0 <= token < vocab_size)
    raise RequestError(
        f"token {index} of '{name}' is {str(ids[index])[:_MAX_SHOWN]}: "
        f"the model's vocabulary is 0 to {vocab_size - 1}",
        param=name.partition("[")[0],
    )
