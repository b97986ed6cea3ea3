"""Checks adapters before a server is started."""

from collections.abc import Sequence
from pathlib import Path

from motet import hub
from motet.engine.config import EngineConfig
from motet.engine.start.blueprint import blueprint_of
from motet.engine.start.identity import identify
from motet.engine.start.inspection import inspect_adapter
from motet.errors import ConfigError
from motet.formats import format_reader

DIGEST_DIGITS = 12
"""Enough to tell adapters apart by eye."""


def check_adapters(config: EngineConfig, adapters: Sequence[str]) -> int:
    """Print what each adapter is, or why it cannot be served; return how many cannot.

    Raises ConfigError when the model cannot be served either.
    """
    blueprint = blueprint_of(config)
    base_model_id = identify(config.model)
    formats = format_reader(blueprint)
    num_failed = 0
    for adapter in adapters:
        try:
            directory = hub.locate("adapter", adapter)
            found = inspect_adapter(blueprint, base_model_id, directory)
            notes = formats.read(Path(adapter).name, directory).notes
        except ConfigError as error:
            num_failed += 1
            print(f"failed  {' '.join(str(error).split())}")
        else:
            print(
                f"ok      adapter '{adapter}': rank {found.max_rank}, {found.num_modules:,} "
                f"modules, {found.num_pages:,} pages, digest {found.digest[:DIGEST_DIGITS]}"
            )
            for line in (*found.origin.lines(), *notes):
                print(f"        {line}")
    return num_failed
