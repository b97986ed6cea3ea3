"""What the engine tells the server: plain values that can cross to another process."""

import enum
from dataclasses import dataclass

from msgspec import Struct

from motet.memory.adapter import Adapter
from motet.memory.manager import MemoryCounts


class FinishReason(enum.StrEnum):
    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"
    TIMEOUT = "timeout"
    """Its deadline has passed."""
    REFUSED = "refused"
    """Can never be served; `TokenOutput.error` says by how much."""
    OVERFLOW = "overflow"
    """The model's output was not finite; `TokenOutput.error` says whose."""
    ERROR = "error"
    """Went wrong; `TokenOutput.error` says what, `TokenOutput.error_kind` where it lies."""


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """How likely the model found a token."""

    logprob: float
    top: tuple[tuple[int, float], ...]
    """(token id, logprob) of the most likely tokens, best first."""


class TokenOutput(Struct, frozen=True, gc=False):  # as Row: one for every token
    """The next token of one request, its end, or both.

    `index` counts the tokens of the request without gaps. After an output with `finish_reason`
    nothing follows for this request.
    """

    request_id: str
    index: int
    token_id: int | None
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    finish_reason: FinishReason | None = None
    error: str | None = None
    error_kind: str | None = None
    """Name of the error in `motet.errors`, where an ERROR lies in what was asked for: an adapter
    that cannot be read, or is gone. None: it lies on our side."""
    num_cached_tokens: int = 0
    """Prompt tokens that came from the prefix index when the request was first admitted."""
    prompt_logprobs: tuple[TokenLogprobs, ...] = ()
    """In the first output, if asked for: of the prompt's tokens from the second on."""
    adapter_digest: str | None = None
    """In the first output: the content that the request runs on."""


class EngineStats(MemoryCounts, frozen=True, kw_only=True):
    """Counts after a step, those of memory among them."""

    num_running: int = 0
    num_waiting: int = 0
    num_waiting_for_state: int = 0
    """Of `num_waiting`, those whose adapter or KV is on its way."""
    state_waits: int = 0
    """Requests that waited for state, and the seconds that they did, all in all:"""
    state_wait_s: float = 0.0
    recomputed_tokens: int = 0
    """Computed again after a preemption."""
    preemptions: int = 0
    prefix_query_tokens: int = 0
    """Prompt tokens that were looked up in the prefix index; of them, those found:"""
    prefix_hit_tokens: int = 0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What the engine serves and its limits, known once it is ready."""

    model: str
    """Path of the model directory."""
    architecture: str
    dtype: str
    device: str
    vocab_size: int
    """Ids that stand for tokens, 0 to below this; padding of the model's vocabulary is left out."""
    max_model_len: int
    eos_token_ids: tuple[int, ...]
    max_lora_rank: int
    max_batch_rows: int
    max_batch_adapters: int
    num_pages: int
    page_bytes: int
    page_tokens: int
    rank16_adapter_pages: int
    """Pages of an adapter of rank 16 on every linear layer: for the banner."""
    adapters: tuple[Adapter, ...]
    num_host_pages: int = 0
    """On the host, each of `page_bytes`."""
    link_gbps: float | None = None
    """Gigabits per second and direction of the simulated link, if it is one."""
