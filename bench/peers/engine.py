"""What an engine is to this comparison: loaded once, then asked for whole batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Tokens = list[list[int]]
"""Token ids of each request, in the order of the requests."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What an engine loads before any time is taken."""

    model: Path
    adapters: Mapping[str, Path]
    """Name -> PEFT directory; none where only the base model is asked."""
    dtype: str
    device: str
    """`cpu` or `cuda`."""
    max_model_len: int
    max_rank: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What an engine says of all its work so far; None where it does not say."""

    prefix_hits: int | None
    """Prompt tokens that were not computed, because a cache had them."""
    adapters_in_step: int | None
    """Most distinct adapters known to have run in one step."""


class PeerEngine(Protocol):
    """Made of a `Setup`."""

    def generate(self, prompts: Tokens, adapters: Sequence[str | None], num_tokens: int) -> Tokens:
        """Greedy: exactly `num_tokens` ids for each prompt, all handed over at once."""

    def counts(self) -> Counts: ...
