"""What the routes work with: the engine, and what is known once it is ready."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from motet.client.protocol import GenerationRequest
from motet.engine import Adapter, Engine, EngineInfo
from motet.errors import ModelNotFound, Unavailable
from motet.server.aside import Aside
from motet.server.metrics import Metrics
from motet.server.settings import ServerConfig
from motet.server.text import Tokenizer

log = logging.getLogger(__name__)

_MAX_NOTED_FIELDS = 100  # clients choose the names, so there is no end of them


class ChatTemplate(Protocol):
    """Writes a conversation as the text that a model was trained on."""

    def render(
        self,
        messages: Sequence[Mapping[str, object]],
        *,
        add_generation_prompt: bool,
        continue_final_message: bool,
        kwargs: Mapping[str, object],
    ) -> str:
        """The text, special tokens included. Raises RequestError."""
        ...


@dataclass(frozen=True, slots=True)
class Served:
    """What a ready server serves."""

    name: str
    """Of the base model."""
    info: EngineInfo
    adapters: dict[str, Adapter]
    tokenizer: Tokenizer
    since_s: int
    """Seconds since the epoch."""
    template: ChatTemplate | None = None
    """How the model writes conversations, if it does."""

    def adapter_for(self, wish: GenerationRequest) -> Adapter | None:
        """The adapter that `wish` asks for; None for the base model. Raises RequestError."""
        return self.adapter(wish.model)

    def adapter(self, model: str) -> Adapter | None:
        """The adapter named `model`; None for the base model. Raises ModelNotFound."""
        if model == self.name:
            return None
        try:
            return self.adapters[model]
        except KeyError:
            raise ModelNotFound(
                f"the model {model!r:.80} does not exist: GET /v1/models lists all",
                code="model_not_found",
                param="model",
            ) from None


class Service:
    """The server's state. `start` and `stop` are called once, on the loop that serves."""

    def __init__(self, engine: Engine, config: ServerConfig) -> None:
        self.engine = engine
        self.config = config
        self.metrics = Metrics(engine)
        self.aside = Aside()
        self._loading: asyncio.Task[Served]
        self._noted_fields: set[str] = set()

    def start(self) -> None:
        """Begin loading; `ready` tells how it ended."""
        self.engine.start()
        self._loading = asyncio.create_task(self._load())

    async def ready(self) -> Served:
        """Wait until requests are served. Raises what loading raised."""
        return await asyncio.shield(self._loading)

    async def stop(self) -> None:
        self._loading.cancel()
        await asyncio.gather(self._loading, return_exceptions=True)
        await self.engine.stop()
        self.aside.close()

    @property
    def served(self) -> Served:
        """What is served now. Raises Unavailable before loading ends and after a failure."""
        _ = self.engine.info
        if not self._loading.done():
            raise Unavailable("the server is loading: ask /ready and try again")
        if self._loading.cancelled() or self._loading.exception() is not None:
            raise Unavailable("the server could not load its model: its log says why")
        return self._loading.result()

    def note_ignored(self, fields: Iterable[str]) -> None:
        """Log fields that no part of motet reads, each name once."""
        for field in fields:
            if field not in self._noted_fields and len(self._noted_fields) < _MAX_NOTED_FIELDS:
                self._noted_fields.add(field)
                log.warning("ignored unknown request field %.80r", field)

    async def _load(self) -> Served:
        info = await self.engine.ready()
        adapters = {adapter.name: adapter for adapter in info.adapters}
        name = self.config.model_name(info.model, adapters)
        tokenizer = await asyncio.to_thread(Tokenizer.load, info.model)
        return Served(name, info, adapters, tokenizer, int(time.time()))
