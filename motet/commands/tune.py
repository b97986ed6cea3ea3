"""Measures this machine, so that engines decide by what things take here."""

from collections.abc import Iterator

from motet.commands.plan import size_text
from motet.commands.table import print_pairs, print_table
from motet.engine.config import EngineConfig
from motet.engine.start.tune import Tuning, tune
from motet.loading_bars import LoadingBars
from motet.memory.copy import Direction

HEADINGS = {Direction.TO_DEVICE: "to the device", Direction.TO_HOST: "to the host"}


def run_tune(config: EngineConfig) -> None:
    """Measure, print and keep what was found. Raises ConfigError, as a start and where it cannot
    be kept."""
    bars = LoadingBars()
    try:
        tuning = tune(config, bars.progress)
    finally:
        bars.close()
    print_table(("copies of", *HEADINGS.values()), list(_copies(tuning)))
    print_table(("prompts of", "take"), list(_prompts(tuning)))
    print_pairs("what follows", list(_rates(tuning)))
    print(f"kept in {tuning.keep()}: engines that start from now on decide by this")


def _copies(tuning: Tuning) -> Iterator[tuple[str, ...]]:
    for copy in tuning.copies:
        yield size_text(copy.num_bytes), *(_ms(copy.seconds[direction]) for direction in HEADINGS)


def _prompts(tuning: Tuning) -> Iterator[tuple[str, str]]:
    for prompt in tuning.prompts:
        yield f"{prompt.num_tokens:,} tokens", _ms(prompt.seconds)


def _rates(tuning: Tuning) -> Iterator[tuple[str, str]]:
    rates = tuning.rates
    yield "copies", f"{size_text(int(rates.copy_bytes_per_s))} a second"
    yield "each begins after", _ms(rates.copy_latency_s)
    yield "prompts", f"{1 / rates.token_s:,.0f} tokens a second"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:,.2f} ms"
