"""What transformers reads from a model directory: never code, never from the network."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.utils.logging import get_verbosity, set_verbosity

from motet.errors import ModelError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


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


def load_tokenizer(directory: Path) -> PreTrainedTokenizerBase | None:
    """The tokenizer, or None where there is none. Raises ModelError when it cannot be used."""
    files = [directory / name for name in TOKENIZER_FILES if (directory / name).exists()]
    if not files:
        return None
    for path in files:
        if not path.is_file():  # reading a pipe or a device would not end
            raise _invalid_tokenizer(f"{path.name} is no regular file")
    tokenizer: PreTrainedTokenizerBase
    try:
        with _quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(
                directory, trust_remote_code=False, local_files_only=True
            )
    except Exception as error:  # transformers and tokenizers raise bare ones
        raise _invalid_tokenizer(_one_line(error)) from error
    if not tokenizer.get_vocab():
        raise _invalid_tokenizer("it has no tokens")
    return tokenizer


def invalid_config(error: Exception) -> ModelError:
    return ModelError(
        f"config.json is not valid ({_one_line(error)}): correct it or download it again"
    )


def _invalid_tokenizer(reason: str) -> ModelError:
    return ModelError(
        f"the tokenizer cannot be loaded ({reason}): download its files again, or remove "
        f"{', '.join(TOKENIZER_FILES)} to serve token ids only"
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
