"""One step as data: what the scheduler tells the executor, and what comes back.

Frozen and made of ints, strings and tuples, so a plan can cross to another process and a recorded
run is a test case. What every row of every step needs a new one of is a `Struct`: a frozen
dataclass takes ten times as long to make. None refers to itself, so no garbage is to be collected.
"""

from dataclasses import dataclass

from msgspec import Struct

from motet.engine.output import TokenLogprobs
from motet.engine.request import SamplingParams
from motet.memory.copy import Transfers
from motet.memory.page import PageId

BASE_SLOT = -1
"""Slot of rows that run on the base model alone."""


@dataclass(frozen=True, slots=True)
class PromptTargets:
    """What prompt logprobs are read off a row: of `tokens[i]`, which stands at `start + i`.

    What the model thinks of a token comes out at the position before it, which is in the row.
    """

    start: int
    tokens: tuple[int, ...]
    num_logprobs: int
    """Most likely alternatives to report with each."""


class Row(Struct, frozen=True, gc=False):
    """Compute positions [start, start + len(tokens)) of one sequence.

    `pages` cover every position from 0 to the end of the row; positions before `start` hold KV.
    """

    request_id: str
    tokens: tuple[int, ...]
    start: int
    pages: tuple[PageId, ...]
    slot: int
    sampling: SamplingParams | None
    """None when nothing is sampled: more of the prompt follows, or only the prompt is wanted."""
    num_generated: int
    """Tokens generated before this row: the position that seeds the sampler."""
    history: tuple[int, ...] = ()
    """All tokens of the sequence, if `sampling` has penalties; the last ones are generated."""
    targets: PromptTargets | None = None

    @property
    def end(self) -> int:
        return self.start + len(self.tokens)


@dataclass(frozen=True, slots=True)
class AdapterBinding:
    """In this step `slot` means the adapter `digest`, whose page i lies in `pages[i]`."""

    slot: int
    digest: str
    pages: tuple[PageId, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """What is computed together."""

    step: int
    """Counts the batches, from 1."""
    rows: tuple[Row, ...]
    adapters: tuple[AdapterBinding, ...]
    """Every adapter that a row of this batch names by slot."""


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What moves from now on, and what is computed meanwhile: perhaps a batch without rows."""

    transfers: Transfers
    batch: Batch


class SampledToken(Struct, frozen=True, gc=False):
    """The next token of a sequence. `token_id` is None when the row's logits were not finite."""

    request_id: str
    token_id: int | None
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    """(token id, logprob) of the most likely tokens, best first."""


@dataclass(frozen=True, slots=True)
class PromptScores:
    """Of each of a row's targets. `logprobs` is None when some logits were not finite."""

    request_id: str
    logprobs: tuple[TokenLogprobs, ...] | None


@dataclass(frozen=True, slots=True)
class StepResult:
    step: int
    tokens: tuple[SampledToken, ...]
    """One for each row that samples, in the order of the batch."""
    scores: tuple[PromptScores, ...] = ()
    """One for each row with targets, in the order of the batch."""
