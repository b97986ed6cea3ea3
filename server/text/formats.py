"""The format of every served name, as its files and the operator say."""

import logging

from motet.engine import EngineInfo
from motet.server.text.format_reader import FormatReader
from motet.server.text.given_formats import GivenFormats
from motet.server.text.prompt_format import PromptFormats
from motet.server.text.tokenizer import Tokenizer

log = logging.getLogger(__name__)

MAX_WARNED = 8
"""Adapters whose faults are shown one by one: thousands may have the same."""


def load_formats(info: EngineInfo, tokenizer: Tokenizer, given: GivenFormats) -> PromptFormats:
    """Read all directories, and warn where an adapter cannot have what it was trained with.

    Takes a while. Raises ConfigError for what cannot be used.
    """
    reader = FormatReader(info.model, tokenizer, info.eos_token_ids, info.vocab_size, given)
    found = {a.name: reader.read(a.name, a.path) for a in info.adapters if a.path}
    faulty = [name for name, of_adapter in found.items() if of_adapter.faults]
    for name in faulty[:MAX_WARNED]:
        for fault in found[name].faults:
            log.warning("adapter '%s': %s", name, fault)
    if len(faulty) > MAX_WARNED:
        log.warning(
            "%d more adapters were trained with what they cannot have here: "
            "motet adapters check says of each what it is",
            len(faulty) - MAX_WARNED,
        )
    own = {name: f.format for name, f in found.items() if f.format is not reader.base}
    return PromptFormats(reader.base, own)
