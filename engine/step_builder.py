"""A step in the making: what goes in may be taken out again until it is final."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from motet.engine.plan import AdapterBinding, Batch, PromptTargets, Row, StepPlan
from motet.engine.sequence import Sequence
from motet.memory.manager import MemoryManager


@dataclass(slots=True)
class StepBuilder:
    """Which sequences get how much of one step."""

    budget: int
    """Tokens that may still be added."""
    shares: dict[Sequence, int] = field(default_factory=dict)
    """Sequence -> number of its pending tokens to compute."""

    def add(self, sequence: Sequence, num_tokens: int) -> None:
        self.shares[sequence] = num_tokens
        self.budget -= num_tokens

    def discard(self, sequence: Sequence) -> None:
        self.budget += self.shares.pop(sequence, 0)

    def rows(self) -> dict[Sequence, Row]:
        """The final rows, in the order they were added."""
        return {sequence: _row(sequence, count) for sequence, count in self.shares.items()}

    def plan(self, step: int, rows: dict[Sequence, Row], memory: MemoryManager) -> StepPlan:
        """The final plan of these rows."""
        batch = Batch(step, tuple(rows.values()), tuple(_bindings(rows, memory)))
        return StepPlan(memory.transfers(), batch)


def _row(sequence: Sequence, num_tokens: int) -> Row:
    assert sequence.table is not None
    start, end = sequence.num_computed, sequence.num_computed + num_tokens
    sampling = sequence.request.sampling
    samples = end == len(sequence.tokens) and sampling.max_tokens > 0
    return Row(
        request_id=sequence.request.request_id,
        tokens=tuple(sequence.tokens[start:end]),
        start=start,
        pages=sequence.table.pages,
        slot=sequence.slot,
        sampling=sampling if samples else None,
        num_generated=sequence.num_generated,
        history=tuple(sequence.tokens) if samples and sampling.has_penalties else (),
        targets=None if sampling.num_prompt_logprobs is None else _targets(sequence, start, end),
    )


def _targets(sequence: Sequence, start: int, end: int) -> PromptTargets | None:
    """What positions [start, end) tell about the prompt that is asked for and not yet known."""
    num_logprobs = sequence.request.sampling.num_prompt_logprobs
    assert num_logprobs is not None
    first = 1 + len(sequence.prompt_logprobs)
    tokens = sequence.request.prompt[first : end + 1]
    if not tokens:
        return None
    assert start < first, f"{sequence} skipped positions whose scores are missing"
    return PromptTargets(first, tokens, num_logprobs)


def _bindings(rows: dict[Sequence, Row], memory: MemoryManager) -> Iterable[AdapterBinding]:
    """One for each slot that one of the sequences runs on."""
    user_of_slot = {row.slot: sequence for sequence, row in rows.items()}
    for slot, sequence in user_of_slot.items():
        adapter = sequence.adapter
        if adapter is not None:
            assert adapter.digest is not None
            yield AdapterBinding(slot, adapter.digest, memory.adapters.pages(adapter))
