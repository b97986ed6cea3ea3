"""What the comparison shows: the header, the table and how far the tokens agree."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from rich.table import Table

from motet.bench.command import a_table
from motet.bench.machine import Machine
from motet.bench.peers.engines import REFERENCES
from motet.bench.peers.outcome import Outcome
from motet.bench.peers.workload import Scenario, Workload
from motet.bench.random_model import RANKS

MIB = 1024**2
DASH = "\N{EN DASH}"

COLUMNS = (
    "engine",
    "scenario",
    "tok/s",
    "ratio to\nreference",
    "ratio to\nown base",
    "prefix\nhits",
    "adapters\nin a step",
    "tokens\ncounted",
    "dtype",
    "anonymous\nMiB, peak",
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
    command: str

    def header(self) -> list[str]:
        work = self.workload
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return [
            versions,
            f"Llama {work.shape}, {work.dtype}, random weights; {work.num_prompts} requests at "
            f"once, {work.input_len} tokens in, {work.output_len} out, greedy",
            f"base: no adapter; mixed: {work.num_adapters} adapters of rank "
            f"{', '.join(map(str, RANKS[: work.num_adapters]))} on q, k, v, o in turn",
            "tok/s: output tokens per second, prefill included: median (and range) of the timed "
            f"rounds, {work.repeat} after one of warm-up",
            "each engine alone, in a process of its own for each scenario; reference: "
            f"{REFERENCES[Scenario.BASE]} on base, {REFERENCES[Scenario.MIXED]} on mixed",
        ]

    def footer(self) -> list[str]:
        """How far the tokens agree, why numbers are missing, and what it takes to run it again."""
        failures = (
            f"{outcome.engine}, {outcome.scenario} failed: {outcome.error}"
            for outcome in self.outcomes
            if outcome.error is not None
        )
        notes = (f"{name}: {note}" for name, note in self.notes.items())
        machine = self.machine.line(self.threads)
        return [*map(str, self.agreements()), *failures, *notes, machine, self.command]

    def agreements(self) -> Iterator[Agreement]:
        for outcome in self.outcomes:
            reference = self._outcome(REFERENCES[outcome.scenario], outcome.scenario)
            if reference and outcome is not reference and outcome.tokens and reference.tokens:
                yield _agreement(outcome, reference)

    def rows(self) -> list[tuple[str, ...]]:
        """One for each engine and scenario, cells as in COLUMNS."""
        empty = (DASH,) * (len(COLUMNS) - 3)
        noted = [(name, DASH, note.partition(":")[0], *empty) for name, note in self.notes.items()]
        return [*map(self._row, self.outcomes), *noted]

    def table(self) -> Table:
        return a_table(COLUMNS, self.rows(), num_left=2)

    def markdown(self) -> str:
        """Header, table and footer."""
        marks = [":--", *["--:"] * (len(COLUMNS) - 1)]
        rows = [COLUMNS, marks, *self.rows()]
        table = ["| " + " | ".join(" ".join(cell.split()) for cell in row) + " |" for row in rows]
        lines = [f"- {line}" for line in [*self.header(), *self.footer()]]
        return "\n".join([*table, "", *lines])

    def _row(self, outcome: Outcome) -> tuple[str, ...]:
        if outcome.error is not None:
            cells = (DASH,) * (len(COLUMNS) - 3)
            return (outcome.engine, outcome.scenario, "failed", *cells)
        rates, hits = outcome.tokens_per_s, outcome.prefix_hits
        is_base = outcome.scenario is Scenario.BASE
        return (
            outcome.engine,
            outcome.scenario,
            f"{median(rates):,.1f}\n({min(rates):,.1f}{DASH}{max(rates):,.1f})",
            self._ratio(outcome, REFERENCES[outcome.scenario], outcome.scenario),
            DASH if is_base else self._ratio(outcome, outcome.engine, Scenario.BASE),
            DASH if hits is None else str(hits),
            self._adapters(outcome),
            f"{outcome.num_tokens:,}",
            self.workload.dtype,
            f"{outcome.peak_bytes / MIB:,.0f}",
        )

    def _ratio(self, outcome: Outcome, engine: str, scenario: Scenario) -> str:
        """How many times the rate of another engine or scenario."""
        other = self._outcome(engine, scenario)
        if other is None or other.error is not None:
            return DASH
        return f"{median(outcome.tokens_per_s) / median(other.tokens_per_s):.2f}"

    def _adapters(self, outcome: Outcome) -> str:
        if outcome.adapters_in_step is not None:
            return str(outcome.adapters_in_step)
        names = self.workload.adapter_names(outcome.scenario)
        return f"{len({name for name in names if name})} planned"

    def _outcome(self, engine: str, scenario: Scenario) -> Outcome | None:
        key = engine, scenario
        return next((o for o in self.outcomes if (o.engine, o.scenario) == key), None)


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
