"""What the routes work with: the engine, what is served, and whether there is room for more."""

import asyncio
import logging
import time
from collections.abc import Iterable

from motet.adapter_places import NOWHERE, AdapterPlaces
from motet.engine import Engine
from motet.errors import Draining, QueueFull, Unavailable
from motet.server.http.adapter_control import AdapterControl
from motet.server.http.agent_control import AgentControl
from motet.server.http.aside import Aside
from motet.server.http.config import ServerConfig
from motet.server.http.metrics import Metrics
from motet.server.http.model_list import ModelListBody
from motet.server.http.rate import HintRates
from motet.server.text.defaults import SamplingDefaults
from motet.server.text.formats import load_formats
from motet.server.text.given_formats import NOTHING_GIVEN, GivenFormats
from motet.server.text.selection import Names
from motet.server.text.served import Served
from motet.server.text.tokenizer import Tokenizer

log = logging.getLogger(__name__)

_MAX_NOTED_FIELDS = 100  # clients choose the names, so there is no end of them


class Service:
    """The server's state. `start` and `stop` are called once, on the loop that serves."""

    def __init__(
        self,
        engine: Engine,
        config: ServerConfig,
        given_formats: GivenFormats = NOTHING_GIVEN,
        places: AdapterPlaces = NOWHERE,
    ) -> None:
        self.engine = engine
        self.config = config
        self._given_formats = given_formats
        self.metrics = Metrics(engine)
        self.aside = Aside()
        self.adapters = AdapterControl(engine, places)
        self.agents = AgentControl(engine, HintRates(config))
        self.model_list = ModelListBody()
        self._loading: asyncio.Task[Served]
        self._is_draining = False
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
        self.adapters.close()

    @property
    def served(self) -> Served:
        """What is served now. Raises Unavailable before loading ends and after a failure."""
        if self._is_draining:
            raise Draining("the server is about to stop: ask again, another one may answer")
        _ = self.engine.info
        if not self._loading.done():
            raise Unavailable("the server is loading: ask /ready and try again")
        if self._loading.cancelled() or self._loading.exception() is not None:
            raise Unavailable("the server could not load its model: its log says why")
        return self._loading.result()

    def drain(self) -> None:
        """Begin nothing any more; what has begun goes on."""
        self._is_draining = True

    def admit(self, num_choices: int) -> None:
        """Refuse a request whose choices would make the queue too long, before any work on it.

        Raises QueueFull.
        """
        num_waiting, most = self.engine.num_waiting, self.config.max_waiting
        if num_waiting > 0 and num_waiting + num_choices > most:
            raise QueueFull(
                f"{num_waiting} requests wait already, and {num_choices} more would be more than "
                f"{most}: try again soon"
            )

    def note_ignored(self, fields: Iterable[str]) -> None:
        """Log fields that no part of motet reads, each name once."""
        for field in fields:
            if field not in self._noted_fields and len(self._noted_fields) < _MAX_NOTED_FIELDS:
                self._noted_fields.add(field)
                log.warning("ignored unknown request field %.80r", field)

    async def _load(self) -> Served:
        info = await self.engine.ready()
        mirror = self.engine.adapters
        name = self.config.model_name(info.model, mirror.current)
        if self.config.metrics_aliases == "vllm":
            self.metrics.name_model(name)
        tokenizer = await asyncio.to_thread(Tokenizer.load, info.model)
        return Served(
            Names(name, mirror, is_lora_enabled=self.adapters.is_lora_enabled),
            info,
            tokenizer,
            int(time.time()),
            await asyncio.to_thread(load_formats, info, tokenizer, self._given_formats, mirror),
            SamplingDefaults.load(info.model, self.config.generation_config),
        )
