"""How prompts of each served name are written, and what ends their answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from motet.engine import Adapter
from motet.server.text.template import ChatTemplate


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """What one name was trained with."""

    template: ChatTemplate | None
    """How it writes conversations, if it does."""
    eos_token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PromptFormats:
    """Of every name."""

    base: PromptFormat
    adapters: Mapping[str, PromptFormat] = field(default_factory=dict)
    """Name -> format, of those whose format is not the base model's."""

    def of(self, adapter: Adapter | None) -> PromptFormat:
        """The format of an adapter; without one, of the base model."""
        return self.adapters.get(adapter.name, self.base) if adapter else self.base
