"""The boundary between decisions and devices."""

from typing import Protocol

from motet.engine.plan import Batch, StepResult
from motet.memory.copy import Transfers


class Executor(Protocol):
    """Does what plans say, in the order given. Decides nothing and keeps nothing about sequences:
    all it needs stands in the plan."""

    def begin(self, transfers: Transfers) -> None:
        """Begin some copies and stop others. Never waits.

        Each copy ends with a `CopyEnded` in the inbox of the engine, at any time, whether it is
        complete, has failed or was cancelled. Before that the core touches none of its pages.
        """

    def execute(self, batch: Batch) -> StepResult:
        """Compute a batch with at least one row. Never waits for a copy."""
