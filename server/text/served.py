"""What is served: names, and how the text of each becomes tokens and tokens become text."""

from dataclasses import dataclass

from motet.client.protocol import GenerationRequest
from motet.engine import Adapter, EngineInfo
from motet.server.text.defaults import NO_DEFAULTS, SamplingDefaults
from motet.server.text.formats import PromptFormats
from motet.server.text.selection import Names
from motet.server.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Served:
    """One base model with its adapters, which come and go."""

    names: Names
    info: EngineInfo
    tokenizer: Tokenizer
    since_s: int
    """Seconds since the epoch."""
    formats: PromptFormats
    """How prompts on each name are written, and what ends their answers."""
    defaults: SamplingDefaults = NO_DEFAULTS
    """For what requests leave out."""

    @property
    def name(self) -> str:
        """Of the base model."""
        return self.names.base

    def adapter_for(self, wish: GenerationRequest) -> Adapter | None:
        """The adapter that `wish` asks for; None for the base model. Raises RequestError."""
        return self.names.select(wish)
