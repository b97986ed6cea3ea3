"""vocab.json with merges.txt: how text is cut stands in neither, but in a class of transformers."""

import json
import logging
import reprlib
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from motet.errors import ModelError
from motet.file_names import MODEL_CONFIG, TOKENIZER_CONFIG
from motet.memory.device.files import MODEL, read_json
from motet.tokenizer.added_tokens import read_added_tokens, read_object
from motet.tokenizer.source import TokenizerSource
from motet.tokenizer_config import read_tokenizer_config

VOCABULARY_FILE = "vocab.json"
MERGES_FILE = "merges.txt"

CLASSES = ("GPT2Tokenizer", "Qwen2Tokenizer")
"""Of transformers, which need nothing else."""

CLASS_OF_MODEL_TYPE = {"qwen2": "Qwen2Tokenizer", "qwen3": "Qwen2Tokenizer"}


def read_byte_level(directory: Path) -> TokenizerSource:
    """Raises ModelError where no class is known to fit, and for broken files."""
    name = _class_name(directory)
    if not (directory / MERGES_FILE).is_file():
        raise ModelError(
            f"{VOCABULARY_FILE} is there and {MERGES_FILE} is not: download it too, or the "
            "tokenizer.json of the model"
        )
    import transformers  # takes seconds

    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        loaded: Any = getattr(transformers, name).from_pretrained(directory, local_files_only=True)
    except Exception as error:  # transformers and tokenizers raise bare ones
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ModelError(
            f"{VOCABULARY_FILE} and {MERGES_FILE} cannot be loaded ({reason}): download both again"
        ) from error
    backend = loaded.backend_tokenizer
    if (directory / TOKENIZER_CONFIG).exists():
        backend = _without_invented_tokens(backend, directory)
    roles = {"bos_token": loaded.bos_token, "eos_token": loaded.eos_token}
    return TokenizerSource(backend, {role: text for role, text in roles.items() if text})


def _class_name(directory: Path) -> str:
    named = read_object(directory, TOKENIZER_CONFIG).get("tokenizer_class")
    model_type = read_object(directory, MODEL_CONFIG).get("model_type")
    name = named.removesuffix("Fast") if isinstance(named, str) else None
    found = name if name in CLASSES else CLASS_OF_MODEL_TYPE.get(str(model_type))
    if found is None:
        raise ModelError(
            f"{VOCABULARY_FILE} and {MERGES_FILE} alone do not say how text is cut for model_type "
            f"{reprlib.repr(model_type)} and tokenizer_class {reprlib.repr(named)}: download the "
            f"tokenizer.json of the model, or set tokenizer_class in {TOKENIZER_CONFIG} to the one "
            f"of {', '.join(CLASSES)} that it was trained with"
        )
    return found


def _without_invented_tokens(backend: Tokenizer, directory: Path) -> Tokenizer:
    """The classes add tokens for their roles behind the vocabulary, also where no file has them."""
    named = {token.content for token in read_added_tokens(directory).values()}
    named |= set(read_tokenizer_config(directory).special_tokens.values())
    named |= read_json(directory / VOCABULARY_FILE, MODEL).keys()
    content = json.loads(backend.to_str())
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] in named]
    return Tokenizer.from_str(json.dumps(content))
