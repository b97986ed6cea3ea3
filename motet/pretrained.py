"""The tokenizer of a model directory, as transformers loads it: never code, never the network."""

import logging
from pathlib import Path
from typing import Any

from motet.errors import ModelError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def load_tokenizer(directory: Path) -> Any | None:
    """A transformers tokenizer, or None without tokenizer files.

    Raises ModelError when the files are there but cannot be used.
    """
    files = [directory / name for name in TOKENIZER_FILES if (directory / name).exists()]
    if not files:
        return None
    for path in files:
        if not path.is_file():  # reading a pipe or a device would not end
            raise _invalid(f"{path.name} is no regular file")
    try:
        from transformers import AutoTokenizer  # takes seconds

        logging.getLogger("transformers").setLevel(logging.ERROR)
        tokenizer = AutoTokenizer.from_pretrained(
            directory, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # transformers and tokenizers raise bare ones
        raise _invalid(" ".join(f"{type(error).__name__}: {error}".split())) from error
    if not tokenizer.get_vocab():
        raise _invalid("it has no tokens")
    return tokenizer


def _invalid(reason: str) -> ModelError:
    return ModelError(
        f"the tokenizer cannot be loaded ({reason}): download its files again, or remove "
        f"{', '.join(TOKENIZER_FILES)} to serve token ids only"
    )
