"""What a client wants: immutable, complete and serialisable."""

from dataclasses import dataclass

from motet.memory.adapter import Adapter


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to choose tokens. Every field is resolved: no None means "default"."""

    max_tokens: int
    min_tokens: int = 0
    """Until this many tokens exist, `stop_token_ids` cannot be sampled."""
    temperature: float = 1.0
    """0 is greedy: the lowest id among equal maxima."""
    top_p: float = 1.0
    top_k: int = 0
    """0 keeps all."""
    min_p: float = 0.0
    seed: int = 0
    stop_token_ids: tuple[int, ...] = ()
    """The model's end-of-sequence ids, unless the client ignores them."""
    num_logprobs: int | None = None
    """Most likely alternatives to report with each token; None reports no logprob at all."""


@dataclass(frozen=True, slots=True)
class Request:
    """One sequence to generate. `request_id` is unique among unfinished requests."""

    request_id: str
    prompt: tuple[int, ...]
    sampling: SamplingParams
    adapter: Adapter | None = None
    """None is the base model."""
    cache_salt: str = ""
    """Prefix pages are shared only between requests of equal salt."""
