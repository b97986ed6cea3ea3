"""Which ids a model may answer with, and which of them end an answer."""

import logging
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from motet.errors import ModelError
from motet.file_names import MODEL_CONFIG
from motet.memory.device.files import MODEL, read_json
from motet.pretrained import LoadedTokenizer, load_tokenizer

log = logging.getLogger(__name__)


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
    """Raises ModelError for ends that are no ids of the model, and for a tokenizer that is broken
    or of another model.

    Without a tokenizer nothing tells padding from tokens: all ids count.
    """
    num_token_ids = config.vocab_size
    ends = {
        id
        for fields in (read_json(directory / MODEL_CONFIG, MODEL), generation)
        for id in _listed_ends(fields.get("eos_token_id"), config.vocab_size)
    }
    tokenizer = load_tokenizer(directory)
    if tokenizer is not None:
        _check_ids(tokenizer, config.vocab_size)
        num_token_ids = min(num_token_ids, tokenizer.num_token_ids)
        if tokenizer.eos_token_id is not None:
            ends.add(tokenizer.eos_token_id)
    if not ends:  # what the family's class takes where no file says anything
        ends.update(_listed_ends(config.eos_token_id, config.vocab_size))
    # What is never sampled ends nothing. The tokenizer may name such an id without being wrong:
    # tokens are often added to its files that the model was not trained for.
    sampled = range(num_token_ids)
    return Vocabulary(num_token_ids, tuple(sorted(id for id in ends if id in sampled)))


def _check_ids(tokenizer: LoadedTokenizer, vocab_size: int) -> None:
    """Tokens that were added may be without a row, and then are refused in requests; no others."""
    if tokenizer.num_token_ids <= vocab_size:
        return
    backend = tokenizer.backend
    beyond = {index: piece for piece, index in backend.get_vocab().items() if index >= vocab_size}
    if others := sorted(beyond.keys() - backend.get_added_tokens_decoder().keys()):
        raise ModelError(
            f"the tokenizer is of another model: its token {others[-1]} is "
            f"{reprlib.repr(beyond[others[-1]])}, and vocab_size is {vocab_size}; download the "
            "tokenizer of this model, or remove its files to serve token ids only"
        )
    log.warning(
        "the model has no rows for %s, which tokenizer files add: vocab_size is %d, and prompts "
        "with them are refused",
        reprlib.repr([beyond[index] for index in sorted(beyond)]),
        vocab_size,
    )


def _listed_ends(field: Any, vocab_size: int) -> list[int]:
    """`eos_token_id` of a file: an id, a list of ids, or null."""
    listed = field if isinstance(field, list) else [] if field is None else [field]
    if not all(isinstance(id, int) and 0 <= id < vocab_size for id in listed):
        raise ModelError(
            f"eos_token_id is {reprlib.repr(field)}: correct it to an id, or a list of ids, of "
            f"the vocabulary (0 to {vocab_size - 1})"
        )
    return listed
