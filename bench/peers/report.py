"""What the comparison shows: the header, the table and how far the tokens agree."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from rich.box import SIMPLE_HEAD
from rich.console import JustifyMethod
from rich.table import Table

from motet.bench.peers.engines import ENGINES, REFERENCES
from motet.bench.peers.machine import Machine
from motet.bench.peers.outcome import Outcome
from motet.bench.peers.workload import RANKS, Scenario, Workload

MIB, GIB = 1024**2, 1024**3
DASH = "\N{EN DASH}"

COLUMNS = (
    "engine",
    "base\ntok/s",
    "\nratio",
    "mixed\ntok/s",
    "\nratio",
    "prefix\nhits",
    "adapters\nin a step",
    "tokens\ncounted",
    "peak\nMiB",
)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many greedy answers of an engine are those of the reference."""

    engine: str
    scenario: Scenario
    num_sequences: int
    equal_sequences: int
    equal_first_tokens: int

    def __str__(self) -> str:
        reference, total = REFERENCES[self.scenario], self.num_sequences
        return (
            f"{self.scenario}: {self.engine} and {reference} agree in {self.equal_sequences} of "
            f"{total} sequences and in {self.equal_first_tokens} of {total} first tokens"
        )


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one run of the comparison found."""

    machine: Machine
    threads: int
    workload: Workload
    versions: Mapping[str, str]
    outcomes: tuple[Outcome, ...]
    notes: Mapping[str, str]
    """Engine -> why it did not run."""

    def header(self) -> list[str]:
        machine, work = self.machine, self.workload
        instructions = ", ".join(machine.instructions) or "no instruction sets that matter"
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return [
            f"{machine.processor} ({instructions}), {machine.cores} cores, "
            f"{machine.memory_bytes / GIB:.0f} GiB, {machine.accelerator or 'no GPU'}; "
            f"threads: {self.threads}; {machine.date}",
            f"Python {machine.python}, {versions}",
            f"Llama {work.shape}, {work.dtype}, random weights; {work.num_prompts} requests at "
            f"once, {work.input_len} tokens in, {work.output_len} out, greedy",
            f"base: no adapter; mixed: {work.num_adapters} adapters of rank "
            f"{', '.join(map(str, RANKS[: work.num_adapters]))} on q, k, v, o in turn",
            "tok/s: output tokens per second, prefill included: median (and range) of the timed "
            f"rounds, {work.repeat} after one of warm-up",
            "each engine alone, in a process of its own for each scenario; ratio: to "
            f"{REFERENCES[Scenario.BASE]} on base, to {REFERENCES[Scenario.MIXED]} on mixed",
        ]

    def footer(self) -> list[str]:
        """How far the tokens agree, and why numbers are missing."""
        failures = (
            f"{outcome.engine}, {outcome.scenario} failed: {outcome.error}"
            for outcome in self.outcomes
            if outcome.error is not None
        )
        notes = (f"{name}: {note}" for name, note in self.notes.items())
        return [*map(str, self.agreements()), *failures, *notes]

    def agreements(self) -> Iterator[Agreement]:
        for outcome in self.outcomes:
            reference = self._outcome(REFERENCES[outcome.scenario], outcome.scenario)
            if reference and outcome is not reference and outcome.tokens and reference.tokens:
                yield _agreement(outcome, reference)

    def rows(self) -> list[tuple[str, ...]]:
        """One for each engine, cells as in COLUMNS."""
        names = [name for name in ENGINES if self._of_engine(name)]
        measured = [self._row(name) for name in names]
        empty = (DASH,) * (len(COLUMNS) - 2)
        noted = [(name, note.partition(":")[0], *empty) for name, note in self.notes.items()]
        return [*measured, *noted]

    def table(self) -> Table:
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for column in COLUMNS:
            justify: JustifyMethod = "left" if column == COLUMNS[0] else "right"
            table.add_column(column, justify=justify, no_wrap=True)
        for row in self.rows():
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """Header, table and footer."""
        marks = [":--", *["--:"] * (len(COLUMNS) - 1)]
        rows = [COLUMNS, marks, *self.rows()]
        table = ["| " + " | ".join(" ".join(cell.split()) for cell in row) + " |" for row in rows]
        lines = [f"- {line}" for line in [*self.header(), *self.footer()]]
        return "\n".join([*table, "", *lines])

    def _row(self, name: str) -> tuple[str, ...]:
        base, mixed = (self._outcome(name, scenario) for scenario in Scenario)
        found = self._of_engine(name)
        hits = [outcome.prefix_hits for outcome in found]
        return (
            name,
            *self._rate(base),
            *self._rate(mixed),
            DASH if None in hits else f"{sum(hit or 0 for hit in hits)}",
            self._adapters(mixed),
            f"{sum(outcome.num_tokens for outcome in found):,}",
            f"{max(outcome.peak_bytes for outcome in found) / MIB:,.0f}",
        )

    def _rate(self, outcome: Outcome | None) -> tuple[str, str]:
        """Tokens per second, and how many times those of the reference."""
        if outcome is None:
            return DASH, DASH
        if outcome.error is not None:
            return "failed", DASH
        rates = outcome.tokens_per_s
        shown = f"{median(rates):,.1f}\n({min(rates):,.1f}{DASH}{max(rates):,.1f})"
        reference = self._outcome(REFERENCES[outcome.scenario], outcome.scenario)
        if reference is None or reference.error is not None:
            return shown, DASH
        return shown, f"{median(rates) / median(reference.tokens_per_s):.2f}"

    def _adapters(self, mixed: Outcome | None) -> str:
        if mixed is None or mixed.error is not None:
            return DASH
        planned = min(self.workload.num_adapters, self.workload.num_prompts)
        known = mixed.adapters_in_step
        return f"{planned} planned" if known is None else str(known)

    def _of_engine(self, name: str) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.engine == name]

    def _outcome(self, name: str, scenario: Scenario) -> Outcome | None:
        return next((o for o in self._of_engine(name) if o.scenario is scenario), None)


def _agreement(outcome: Outcome, reference: Outcome) -> Agreement:
    pairs = list(zip(_sequences(outcome), _sequences(reference), strict=True))
    return Agreement(
        outcome.engine,
        outcome.scenario,
        num_sequences=len(pairs),
        equal_sequences=sum(one == other for one, other in pairs),
        equal_first_tokens=sum(one[0] == other[0] for one, other in pairs),
    )


def _sequences(outcome: Outcome) -> Iterable[Sequence[int]]:
    return (ids for tokens in outcome.tokens for ids in tokens)
