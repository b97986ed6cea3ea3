"""Which ids a model may answer with, and which of them end an answer."""

import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from motet.errors import ModelError
from motet.pretrained import load_tokenizer


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The ids that stand for something: from 0 to below `num_token_ids`."""

    num_token_ids: int
    """The embedding may have more rows, which fill it up to a round number: no token has them."""
    eos_token_ids: tuple[int, ...]
    """What config.json, generation_config.json or the tokenizer calls an end, ascending."""


def read_vocabulary(
    directory: Path, config: PreTrainedConfig, generation: dict[str, Any]
) -> Vocabulary:
    """Raises ModelError for ends that are no ids of the model, and for a broken tokenizer.

    Without a tokenizer nothing tells padding from tokens: all ids count.
    """
    num_token_ids = config.vocab_size
    ends = {
        id
        for field in (config.eos_token_id, generation.get("eos_token_id"))
        for id in _listed_ends(field, config.vocab_size)
    }
    tokenizer = load_tokenizer(directory)
    if tokenizer is not None:
        num_token_ids = min(num_token_ids, max(tokenizer.get_vocab().values()) + 1)
        if tokenizer.eos_token_id is not None:
            ends.add(tokenizer.eos_token_id)
    # What is never sampled ends nothing. The tokenizer may name such an id without being wrong:
    # tokens are often added to its files that the model was not trained for.
    sampled = range(num_token_ids)
    return Vocabulary(num_token_ids, tuple(sorted(id for id in ends if id in sampled)))


def _listed_ends(field: Any, vocab_size: int) -> list[int]:
    """`eos_token_id` of a file: an id, a list of ids, or null."""
    listed = field if isinstance(field, list) else [] if field is None else [field]
    if not all(isinstance(id, int) and 0 <= id < vocab_size for id in listed):
        raise ModelError(
            f"eos_token_id is {reprlib.repr(field)}: correct it to an id, or a list of ids, of "
            f"the vocabulary (0 to {vocab_size - 1})"
        )
    return listed
