"""The tokenizer of a model directory, as transformers loads it."""

import logging
from pathlib import Path
from typing import Any

from motet.errors import ModelError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def load_pretrained(directory: str) -> Any | None:
    """A transformers tokenizer; None without tokenizer files. No code of the model is run.

    Raises ModelError when the files are there but cannot be used.
    """
    if not any((Path(directory) / name).exists() for name in TOKENIZER_FILES):
        return None
    try:
        from transformers import AutoTokenizer  # takes seconds

        logging.getLogger("transformers").setLevel(logging.ERROR)
        return AutoTokenizer.from_pretrained(
            directory, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # transformers and tokenizers raise bare ones
        reason = str(error).partition("\n")[0]
        raise ModelError(
            f"the tokenizer in {directory} cannot be loaded ({reason}): download its files "
            f"again, or remove {', '.join(TOKENIZER_FILES)} to serve token ids only"
        ) from error
