"""Progress of one request."""

import enum
from collections import deque
from dataclasses import dataclass, field

from motet.engine.plan import BASE_SLOT
from motet.engine.request import Request
from motet.memory.block_table import BlockTable
from motet.memory.transition import Legal, new_history


class SequenceState(enum.StrEnum):
    WAITING = "waiting"
    """Holds nothing."""
    LOADING = "loading"
    """Admitted; its adapter is on the way."""
    RUNNING = "running"
    """May have a row in every step."""
    PREEMPTED = "preempted"
    """Gave up its pages, about to wait again."""
    FINISHED = "finished"


SEQUENCE: Legal[SequenceState] = {
    SequenceState.WAITING: frozenset(
        {SequenceState.LOADING, SequenceState.RUNNING, SequenceState.FINISHED}
    ),
    SequenceState.LOADING: frozenset(
        {SequenceState.RUNNING, SequenceState.PREEMPTED, SequenceState.FINISHED}
    ),
    SequenceState.RUNNING: frozenset({SequenceState.PREEMPTED, SequenceState.FINISHED}),
    SequenceState.PREEMPTED: frozenset({SequenceState.WAITING}),
    SequenceState.FINISHED: frozenset(),
}


@dataclass(slots=True, eq=False)
class Sequence:
    """The tokens of a request so far and what it holds.

    ```
    tokens  [ prompt ................ | generated .... ]
              computed ............ | pending ........
    ```
    Invariant: `table` and a reference on the adapter are held exactly while LOADING or RUNNING.
    """

    request: Request
    arrival: int
    """Rank in order of arrival: smaller is older. Kept through preemptions."""
    tokens: list[int] = field(init=False)
    num_computed: int = 0
    table: BlockTable | None = None
    slot: int = BASE_SLOT
    num_cached: int | None = None
    """Prompt tokens found in the prefix index at the first admission."""
    num_preemptions: int = 0
    state: SequenceState = SequenceState.WAITING
    history: deque[SequenceState] = field(default_factory=new_history)

    def __post_init__(self) -> None:
        self.tokens = list(self.request.prompt)

    @property
    def adapter_digest(self) -> str | None:
        """None on the base model."""
        return self.request.adapter.digest if self.request.adapter else None

    @property
    def num_generated(self) -> int:
        return len(self.tokens) - len(self.request.prompt)

    @property
    def num_pending(self) -> int:
        """Tokens whose KV is not computed; 1 while decoding."""
        return len(self.tokens) - self.num_computed

    def __str__(self) -> str:
        return f"sequence {self.request.request_id}"
