"""What a batch is made of: its rows, and the adapters that they run on."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from motet.bench.random_model import HEAD, RANKS, TARGETS, AdapterKind

MIXED = "mixed"

PLAIN = ""
KINDS: dict[str, Callable[[int], AdapterKind]] = {
    PLAIN: AdapterKind,
    "DoRA": partial(AdapterKind, use_dora=True),
    "head": partial(AdapterKind, targets=(*TARGETS, HEAD)),
}
"""What adapters of a scenario change, by rank; all of them attention."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """`num_rows` sequences that take `num_adapters` adapters in turn; with none, the base model."""

    num_rows: int
    num_adapters: int = 0
    ranks: str = ""
    """One rank, or `mixed`; nothing without adapters."""
    kind: str = PLAIN
    """Of KINDS."""

    @property
    def base(self) -> "Scenario":
        """As many rows without adapters."""
        return Scenario(self.num_rows)

    @property
    def adapters(self) -> list[str | None]:
        """The name of each row's adapter."""
        if self.num_adapters == 0:
            return [None] * self.num_rows
        names = list(self.adapter_kinds)
        return [names[row % self.num_adapters] for row in range(self.num_rows)]

    @property
    def adapter_ranks(self) -> list[int]:
        """Of adapter 0, 1, ..."""
        cycle = RANKS if self.ranks == MIXED else (int(self.ranks or 0),)
        return [cycle[index % len(cycle)] for index in range(self.num_adapters)]

    @property
    def adapter_kinds(self) -> dict[str, AdapterKind]:
        """Name -> kind of adapter 0, 1, ...; of one kind, rank and index there is one adapter."""
        return {
            f"{self.kind}r{rank}-{index}": KINDS[self.kind](rank)
            for index, rank in enumerate(self.adapter_ranks)
        }

    def __str__(self) -> str:
        rows = f"{self.num_rows} row{'s' if self.num_rows > 1 else ''}"
        if self.num_adapters == 0:
            return f"{rows}, base"
        ranks = MIXED if self.ranks == MIXED else f"rank {self.ranks}"
        return f"{rows}, {self.num_adapters} x {' '.join(filter(None, (self.kind, ranks)))}"


def scenarios(rows: list[int], adapters: list[int], ranks: list[str]) -> list[Scenario]:
    """All that make sense, each base before what is compared with it.

    No batch has more adapters than rows, and one adapter is not mixed.
    """
    found = []
    for num_rows in rows:
        found.append(Scenario(num_rows))
        for num_adapters in adapters:
            for rank in ranks:
                if 0 < num_adapters <= num_rows and (rank != MIXED or num_adapters > 1):
                    found.append(Scenario(num_rows, num_adapters, rank))
    return found


def needed_adapters(scenarios: list[Scenario]) -> dict[str, AdapterKind]:
    """Name -> kind of every adapter that occurs."""
    return {name: kind for one in scenarios for name, kind in one.adapter_kinds.items()}
