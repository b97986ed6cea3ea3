"""How prompts of a served name are written, and what ends their answers."""

from dataclasses import dataclass

from motet.server.text.template import ChatTemplate


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """What one name was trained with."""

    template: ChatTemplate | None
    """How it writes conversations, if it does."""
    eos_token_ids: tuple[int, ...]
