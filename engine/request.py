"""What a client wants: immutable, complete and serialisable."""

from dataclasses import dataclass

from motet.memory.adapter import Adapter
from motet.memory.agent import AgentCall


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to choose tokens. Every field is resolved: no None means "default"."""

    max_tokens: int
    """0 computes the prompt and samples nothing."""
    min_tokens: int = 0
    """Until this many tokens exist, `stop_token_ids` cannot be sampled."""
    temperature: float = 1.0
    """0 is greedy: the lowest id among equal maxima."""
    top_p: float = 1.0
    top_k: int = 0
    """0 keeps all."""
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    """Divides positive logits of tokens that are in the prompt or the output, multiplies others."""
    presence_penalty: float = 0.0
    """Subtracted once from the logit of each token that is in the output."""
    frequency_penalty: float = 0.0
    """Subtracted from the logit of a token once for each time it is in the output."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """(token id, what is added to its logit), each id once, after the penalties."""
    seed: int = 0
    choice: int = 0
    """Which of several sequences of the same prompt and seed this is."""
    stop_token_ids: tuple[int, ...] = ()
    """Each ends the output, as its last token."""
    num_logprobs: int | None = None
    """Most likely alternatives to report with each token; None reports no logprob at all."""
    num_prompt_logprobs: int | None = None
    """As `num_logprobs`, for the tokens of the prompt from the second on."""

    @property
    def has_penalties(self) -> bool:
        """Do earlier tokens change the logits of later ones?"""
        return (
            self.repetition_penalty != 1.0
            or self.presence_penalty != 0.0
            or self.frequency_penalty != 0.0
        )


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
    deadline_s: float | None = None
    """Second on the engine's clock at which the answer is worth nothing any more."""
    agent: AgentCall | None = None
    """Who asks; None: nobody in particular."""
    priority: float = 0.0
    """The lower goes first."""
