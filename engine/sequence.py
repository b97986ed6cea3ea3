"""Progress of one request."""

import enum
from dataclasses import dataclass, field
from typing import ClassVar

from motet.engine.output import FinishReason, TokenLogprobs, TokenOutput
from motet.engine.plan import BASE_SLOT, SampledToken
from motet.engine.request import Request
from motet.memory.adapter_cache import AdapterState
from motet.memory.agents import Agent
from motet.memory.block_table import BlockTable
from motet.memory.prefix import Chain, Namespace
from motet.memory.registry import Generation
from motet.memory.residency import Rank
from motet.memory.transition import Legal


class SequenceState(enum.StrEnum):
    WAITING = "waiting"
    """Holds nothing."""
    RUNNING = "running"
    """May have a row in every step."""
    FINISHED = "finished"


SEQUENCE_MOVES: Legal[SequenceState] = {
    SequenceState.WAITING: frozenset({SequenceState.RUNNING, SequenceState.FINISHED}),
    SequenceState.RUNNING: frozenset({SequenceState.WAITING, SequenceState.FINISHED}),
    SequenceState.FINISHED: frozenset(),
}


@dataclass(slots=True, eq=False)
class Sequence:
    """The tokens of a request so far and what it holds.

    ```
    tokens  [ prompt ................ | generated .... ]
              computed ............ | pending ........
    ```
    Invariant: `table`, a slot and a reference on the adapter are held exactly while RUNNING.
    """

    legal: ClassVar[Legal[SequenceState]] = SEQUENCE_MOVES

    request: Request
    rank: Rank
    """Its turn: in the queue, in a step, and whom it may rob. Kept through preemptions."""
    generation: Generation | None = None
    """What its adapter's name meant when it came; None on the base model."""
    adapter: AdapterState | None = None
    """The content of that."""
    namespace: Namespace | None = None
    """Where KV is found that it may share; None as long as nobody knows the adapter's content."""
    agent: Agent | None = None
    """Who asks, as memory knows it."""
    arrived_s: float = 0.0
    tokens: list[int] = field(init=False)
    num_computed: int = 0
    prefix: Chain = field(default_factory=list)
    """While WAITING: the pages that were found when it was last tried to admit it."""
    restoring_since_s: float | None = None
    """When it began to wait for pages of its prefix."""
    table: BlockTable | None = None
    slot: int = BASE_SLOT
    num_cached: int | None = None
    """Prompt tokens found in the prefix index at the first admission."""
    prompt_logprobs: list[TokenLogprobs] = field(default_factory=list)
    """Of the prompt's tokens from the second on, as far as asked for and known. Survives
    preemption."""
    num_preemptions: int = 0
    num_lost: int = 0
    """Tokens that were computed when it was last preempted."""
    state: SequenceState = SequenceState.WAITING
    history: tuple[SequenceState, ...] = ()

    def __post_init__(self) -> None:
        self.tokens = list(self.request.prompt)

    @property
    def adapter_digest(self) -> str | None:
        """None on the base model, and as long as nobody knows the content."""
        return self.adapter.digest if self.adapter else None

    @property
    def num_generated(self) -> int:
        return len(self.tokens) - len(self.request.prompt)

    @property
    def announced_tokens(self) -> int | None:
        """Of its whole output, as its agent expects it, for as long as that has not been wrong."""
        agent = self.request.agent
        expected = agent.expected_tokens if agent is not None else None
        return expected if expected is not None and self.num_generated < expected else None

    @property
    def num_pending(self) -> int:
        """Tokens whose KV is not computed; 1 while decoding."""
        return len(self.tokens) - self.num_computed

    @property
    def num_skippable(self) -> int:
        """Leading tokens that need not be computed where their KV is found.

        What follows a token is known only where it is computed: the last one always is, and those
        before it whose prompt logprobs are missing.
        """
        is_asked = self.request.sampling.num_prompt_logprobs is not None
        num_asked = len(self.request.prompt) - 1 if is_asked else 0
        num_known = len(self.prompt_logprobs)
        return num_known if num_known < num_asked else len(self.tokens) - 1

    def waits_for_prefix(self, now: float) -> None:
        """Pages that it shares are on their way."""
        if self.restoring_since_s is None:
            self.restoring_since_s = now

    def end_state_wait(self, now: float) -> float:
        """It begins to run: seconds since it came, or was preempted, that it waited for its adapter
        and for pages of its prefix."""
        since_s, self.restoring_since_s = self.restoring_since_s, None
        wait_s = now - since_s if since_s is not None else 0.0
        if self.adapter is not None and self.adapter.came_s > self.arrived_s:
            wait_s += self.adapter.came_s - self.arrived_s
        self.arrived_s = now  # what it waits for after a preemption begins then
        return wait_s

    def advance(
        self, token: SampledToken | None, scores: tuple[TokenLogprobs, ...]
    ) -> TokenOutput | None:
        """Take in what a computed row has given; what the client should hear of it."""
        self.prompt_logprobs += scores
        if token is None:
            return self._end_of_prompt() if self.num_pending == 0 else None
        assert token.token_id is not None
        index = self.num_generated
        self.tokens.append(token.token_id)
        return TokenOutput(
            request_id=self.request.request_id,
            index=index,
            token_id=token.token_id,
            logprob=token.logprob,
            top=token.top,
            finish_reason=self._finish_reason(token.token_id, index + 1),
            num_cached_tokens=self.num_cached or 0,
            prompt_logprobs=tuple(self.prompt_logprobs) if index == 0 else (),
            adapter_digest=self.adapter_digest if index == 0 else None,
        )

    def _end_of_prompt(self) -> TokenOutput:
        """All that a request hears which wants no tokens."""
        return TokenOutput(
            request_id=self.request.request_id,
            index=0,
            token_id=None,
            finish_reason=FinishReason.LENGTH,
            num_cached_tokens=self.num_cached or 0,
            prompt_logprobs=tuple(self.prompt_logprobs),
            adapter_digest=self.adapter_digest,
        )

    def _finish_reason(self, last: int, num_generated: int) -> FinishReason | None:
        sampling = self.request.sampling
        if last in sampling.stop_token_ids:
            return FinishReason.STOP
        return FinishReason.LENGTH if num_generated == sampling.max_tokens else None

    def __str__(self) -> str:
        return f"sequence {self.request.request_id}"
