"""The format of every served name, as its files and the operator say."""

import logging
import threading
from collections.abc import Mapping

from motet.engine import Adapter, AdapterMirror, EngineInfo
from motet.server.text.format_reader import FormatReader, FoundFormat
from motet.server.text.given_formats import GivenFormats
from motet.server.text.prompt_format import PromptFormat
from motet.server.text.tokenizer import Tokenizer

log = logging.getLogger(__name__)

MAX_WARNED = 8
"""Adapters whose faults are shown one by one at the start: thousands may have the same."""

MAX_KEPT = 4096
"""Formats of adapters that are kept; what is older is read again."""


class PromptFormats:
    """Reads the directory of an adapter when it is first used, and forgets what it has found with
    the adapter. Any thread may ask.
    """

    def __init__(
        self,
        base: PromptFormat,
        reader: FormatReader | None = None,
        mirror: AdapterMirror | None = None,
    ) -> None:
        """Without a `reader`, all names have the format of the base model."""
        self.base = base
        self._reader = reader
        self._mirror = mirror or AdapterMirror()
        self._found: dict[tuple[str, int], PromptFormat | None] = {}  # None: the base's
        self._pruned_version = self._mirror.version
        self._changing = threading.Lock()

    def of(self, adapter: Adapter | None) -> PromptFormat:
        """The format of an adapter; without one, of the base model.

        Takes a while if it is not known yet. Raises AdapterError for files that cannot be used;
        they are read again the next time.
        """
        if adapter is None or self.is_known(adapter):
            found = self._found.get(_key(adapter)) if adapter else None
            return found or self.base
        for fault in self.read(adapter).faults:
            log.warning("adapter '%s': %s", adapter.name, fault)
        return self._found.get(_key(adapter)) or self.base

    def is_known(self, adapter: Adapter | None) -> bool:
        """Whether `of` answers at once."""
        is_base = adapter is None or self._reader is None or not adapter.path
        return is_base or (adapter is not None and _key(adapter) in self._found)

    @property
    def own(self) -> Mapping[str, PromptFormat]:
        """Name -> format, of the adapters known to have another than the base model."""
        with self._changing:
            return {name: found for (name, _), found in self._found.items() if found is not None}

    def check(self, name: str, directory: str) -> None:
        """Raise AdapterError where an adapter to be has files that cannot be used."""
        if self._reader is not None:
            self._reader.read(name, directory)

    def read(self, adapter: Adapter) -> FoundFormat:
        """What its directory has, to be known from now on. Raises AdapterError."""
        assert self._reader is not None
        found = self._reader.read(adapter.name, adapter.path)
        is_base = found.format is self._reader.base
        with self._changing:
            self._forget_gone()
            while len(self._found) >= MAX_KEPT:
                del self._found[next(iter(self._found))]
            self._found[_key(adapter)] = None if is_base else found.format
        return found

    def _forget_gone(self) -> None:
        if self._pruned_version != self._mirror.version:
            self._pruned_version = self._mirror.version
            for key in [key for key in self._found if not self._mirror.has(*key)]:
                del self._found[key]


def load_formats(
    info: EngineInfo, tokenizer: Tokenizer, given: GivenFormats, mirror: AdapterMirror
) -> PromptFormats:
    """Formats of the adapters in `mirror`, those that the engine has read at the start read too.

    Warns where one cannot have what it was trained with. Takes a while. Raises ConfigError for
    what cannot be used.
    """
    reader = FormatReader(info.model, tokenizer, info.eos_token_ids, info.vocab_size, given)
    formats = PromptFormats(reader.base, reader, mirror)
    known = [a for a in info.adapters if a.path and a.digest is not None]
    found = {adapter.name: formats.read(adapter) for adapter in known}
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
    return formats


def _key(adapter: Adapter) -> tuple[str, int]:
    return adapter.name, adapter.generation
