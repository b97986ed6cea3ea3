"""What every request for text may say: how to sample, from which model, in which form."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from motet.client.protocol.agent_fields import (
    MAX_ID_CHARS,
    AgentFields,
    AgentId,
    Nvext,
    Priority,
)

TokenId = Annotated[int, Meta(ge=0, le=2**31)]
StopString = Annotated[str, Meta(min_length=1, max_length=256)]
Bias = Annotated[float, Meta(ge=-100, le=100)]


class SamplingFields(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """How to choose tokens, and when to stop."""

    n: Annotated[int, Meta(ge=1, le=128)] = 1
    """Choices for each prompt."""
    max_tokens: Annotated[int, Meta(ge=0, le=2**31)] | None = None
    min_tokens: Annotated[int, Meta(ge=0, le=2**31)] = 0
    """No end-of-sequence token, stop token or stop string ends the text before."""
    ignore_eos: bool = False
    stop: StopString | Annotated[list[StopString], Meta(max_length=16)] = []
    stop_token_ids: Annotated[list[TokenId], Meta(max_length=256)] = []
    include_stop_str_in_output: bool = False
    """Keep the text of the stop string or stop token that ended the answer."""

    temperature: Annotated[float, Meta(ge=0, le=2)] = 1.0
    """0 is greedy."""
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Meta(ge=-1, le=2**31)] = 0
    """0 and -1 keep all."""
    min_p: Annotated[float, Meta(ge=0, le=1)] = 0.0
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] = 1.0
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0.0
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0.0
    logit_bias: Annotated[dict[str, Bias], Meta(max_length=300)] = {}
    """Token id, in decimal digits -> what is added to its logit."""
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    """Default: random."""


class StreamOptions(Struct, kw_only=True, frozen=True, omit_defaults=True):
    include_usage: bool = False
    """One more chunk before the end, with the usage and no choices."""
    continuous_usage_stats: bool = False
    """The usage so far on each chunk as well."""


class ResponseFormat(Struct, kw_only=True, frozen=True):
    """How the text is shaped; other fields belong to types that this version does not know."""

    type: str


class GenerationRequest(SamplingFields, kw_only=True, frozen=True, omit_defaults=True):
    """What completions and chat have in common.

    A server may refuse some fields; it then names the field.
    """

    model: Annotated[str, Meta(max_length=1024)] = ""
    """The base model, an adapter, or `base:adapter`. Empty is the base model."""
    lora_path: Annotated[str, Meta(max_length=512)] | None = None
    """Name of a registered adapter: what other engines call it. Never a path."""
    adapter_id: Annotated[str, Meta(max_length=512)] | None = None
    """Another name of `lora_path`."""

    stream: bool = False
    stream_options: StreamOptions | None = None
    return_token_ids: bool = False
    """Add `prompt_token_ids` and `token_ids`."""
    cache_salt: Annotated[str, Meta(max_length=256)] = ""
    """Cached prefixes are shared only between requests of equal salt."""
    user: str | None = None
    """Accepted for OpenAI's sake; nothing depends on it."""

    priority: Priority | None = None
    """The lower goes first, as vLLM has it. Default: 0."""
    agent: AgentFields | None = None
    """Who asks. What follows says less of it, in the words of other servers."""
    agent_id: AgentId | None = None
    session_id: AgentId | None = None
    job_id: AgentId | None = None
    is_last_step: bool = False
    """Of the job."""
    prompt_cache_key: Annotated[str, Meta(max_length=MAX_ID_CHARS)] = ""
    nvext: Nvext | None = None

    response_format: ResponseFormat = ResponseFormat(type="text")
    structured_outputs: dict[str, Any] | None = None
    lora: list[Any] = []
    prompt_logprobs: int | None = None
    skip_special_tokens: bool = True
    allowed_token_ids: Any = None
    bad_words: Any = None
    guided_json: Any = None
    guided_regex: Any = None
    guided_choice: Any = None
    guided_grammar: Any = None
    use_beam_search: bool = False
    length_penalty: float = 1.0
    return_tokens_as_token_ids: bool = False
