"""What a part of the bench has found: numbers beside what they are compared with, and goals."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.table import Table

from motet.bench.command import a_table

COLUMNS = ("what", "measured", "against", "", "goal", "reached")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a table."""

    what: str
    measured: str
    against: str = ""
    value: str = ""
    """What of the two decides: a ratio or a difference. Empty: the measured number itself."""
    goal: str = ""
    is_reached: bool | None = None
    """None: there is no goal."""

    def cells(self) -> tuple[str, ...]:
        reached = {None: "", True: "yes", False: "NO"}[self.is_reached]
        return (self.what, self.measured, self.against, self.value, self.goal, reached)


@dataclass(frozen=True, slots=True)
class PartReport:
    """All of one part."""

    title: str
    findings: Sequence[Finding]
    notes: Sequence[str] = field(default=())

    def table(self) -> Table:
        rows = [finding.cells() for finding in self.findings]
        return a_table(COLUMNS, rows, num_left=1, title=self.title)


def at_most(
    what: str, number: float, limit: float, unit: str, *, against: str = "", of: str = ""
) -> Finding:
    """A goal that a number reaches when it is not above `limit`; `of` is shown before it, where it
    is itself found by comparing `of` with `against`."""
    shown = f"{number:,.3f}" if unit == "x" else f"{number:,.2f} {unit}"
    goal = f"<= {limit:g} {unit}"
    measured, value = (of, shown) if of else (shown, "")
    return Finding(what, measured, against, value, goal, number <= limit)
