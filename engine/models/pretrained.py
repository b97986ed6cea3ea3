"""What transformers reads from a model directory: never code, never from the network."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import AutoConfig, PreTrainedConfig
from transformers.utils.logging import get_verbosity, set_verbosity

from motet.errors import ModelError


def load_config(directory: Path) -> PreTrainedConfig:
    """config.json, with fields that only some families store filled in for all.

    Raises ModelError for what transformers does not accept.
    """
    config: PreTrainedConfig
    try:
        with _quiet_transformers():
            config = AutoConfig.from_pretrained(
                directory, trust_remote_code=False, local_files_only=True
            )
        if getattr(config, "head_dim", None) is None:
            config.head_dim = config.hidden_size // config.num_attention_heads
    except Exception as error:  # whatever its validators raise, the file is what is wrong
        raise invalid_config(error) from error
    return config


def invalid_config(error: Exception) -> ModelError:
    return ModelError(
        f"config.json is not valid ({_one_line(error)}): correct it or download it again"
    )


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """What it would warn of is refused by an error of ours, or does not matter here."""
    verbosity = get_verbosity()
    set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        set_verbosity(verbosity)
