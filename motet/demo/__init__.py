"""The model that comes with motet, in eight voices: what is served when no model is named."""

from pathlib import Path

from motet.engine.config import BatchConfig, EngineConfig, ModelConfig, PoolConfig
from motet.errors import ConfigError
from motet.file_names import MODEL_CONFIG

MODEL = Path(__file__).with_name("town")
"""Directory of the base model; its name is the one that requests use."""

VOICE_NAMES = ("capitals", "rhyme", "pirate", "terse", "polite", "json", "counting", "gossip")


def engine_config(
    model: str | None,
    adapters: tuple[tuple[str, str], ...],
    model_config: ModelConfig,
    pool: PoolConfig,
    batch: BatchConfig,
    optional_adapters: frozenset[str] = frozenset(),
) -> EngineConfig:
    """`model` with `adapters`; without a model, the one that comes with motet, with its voices too.

    The only place that decides what a missing model means. Raises ConfigError.
    """
    if model is None:
        model, adapters = _demo_model(), (*voices(), *adapters)
    return EngineConfig(
        model, adapters, model_config, pool, batch, optional_adapters=optional_adapters
    )


def voices() -> tuple[tuple[str, str], ...]:
    """(name, PEFT directory) of each voice."""
    return tuple((name, str(MODEL.with_name("voices") / name)) for name in VOICE_NAMES)


def _demo_model() -> str:
    if not (MODEL / MODEL_CONFIG).is_file():
        raise ConfigError(
            "no MODEL is given, and this installation lacks the one that comes with motet "
            f"('{MODEL}'): give a MODEL, or install motet again"
        )
    return str(MODEL)
