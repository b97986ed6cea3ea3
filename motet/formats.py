"""Formats of prompts before a model is loaded: what the operator gives, what adapters bring."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from motet.engine.config import EngineConfig
from motet.server.text.format_reader import FormatReader
from motet.server.text.given_formats import NOTHING_GIVEN, GivenFormats
from motet.server.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from motet.engine.start.blueprint import Blueprint  # takes seconds


def try_formats(given: GivenFormats, config: EngineConfig) -> None:
    """Raises ConfigError for what cannot be had with this model.

    Its directory must be there. It is read for this, if anything is given.
    """
    if given == NOTHING_GIVEN:
        return
    from motet.engine.start.blueprint import blueprint_of

    format_reader(blueprint_of(config), given)


def adapter_notes(
    config: EngineConfig, directories: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Of adapters of the model, by their names: how what they bring differs from the base's.

    Raises ConfigError.
    """
    if not directories:
        return {}
    from motet.engine.start.blueprint import blueprint_of

    reader = format_reader(blueprint_of(config))
    return {name: reader.read(name, path).notes for name, path in directories.items()}


def format_reader(blueprint: "Blueprint", given: GivenFormats = NOTHING_GIVEN) -> FormatReader:
    """Of the model that the blueprint is for. Raises ConfigError."""
    model, spec = blueprint.config.model, blueprint.spec
    tokenizer = Tokenizer.load(model)
    return FormatReader(model, tokenizer, spec.eos_token_ids, spec.num_token_ids, given)
