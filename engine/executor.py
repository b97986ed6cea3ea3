"""The boundary between decisions and devices."""

from typing import Protocol

from motet.engine.plan import StepPlan, StepResult


class Executor(Protocol):
    """Runs plans in the order given. Decides nothing.

    `execute` returns when the batch is done; loads may complete in a later step and are reported
    then. A plan without rows is given only while loads are under way: it returns when one of them
    completes. The executor keeps no state about sequences: all it needs stands in the plan.
    """

    def execute(self, plan: StepPlan) -> StepResult: ...
