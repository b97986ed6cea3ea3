"""Adapters that come and go: found when they are first named, loaded, unloaded and pinned."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from motet.adapter_places import AdapterPlaces, name_fault
from motet.client.protocol import GenerationRequest, LoadAdapterRequest
from motet.engine import Adapter, AdapterStatus, Engine
from motet.engine.messages import LoadAdapter, PinAdapter, RegisterAdapter, UnloadAdapter
from motet.errors import AdapterExists, RequestError
from motet.server.http.aside import Aside
from motet.server.text.formats import PromptFormats
from motet.server.text.selection import ALIASES, UnknownAdapter
from motet.server.text.served import Served

_MOST_NAMES = 1 + len(ALIASES)
"""That one request can have."""


class AdapterControl:
    """Asks the engine for what changes; reads directories beside the loop."""

    def __init__(self, engine: Engine, places: AdapterPlaces) -> None:
        self._engine = engine
        self._places = places
        self._disk = Aside("motet-disk")
        self._registering: dict[str, asyncio.Task[bool]] = {}
        self._unloaded: set[str] = set()  # and still in the directory: only loading brings it back

    @property
    def is_lora_enabled(self) -> bool:
        """Can there ever be an adapter that is not there yet?"""
        return bool(self._places.roots)

    async def select(self, served: Served, wish: GenerationRequest) -> Adapter | None:
        """The adapter that `wish` asks for, ready to be asked; None for the base model.

        Raises RequestError, and AdapterError for one whose files cannot be used.
        """
        return await self._found(served, lambda: served.adapter_for(wish))

    async def resolve(self, served: Served, model: str) -> Adapter | None:
        """The adapter that `model` names, as `select`."""
        return await self._found(served, lambda: served.names.resolve(model))

    async def look_up(self, served: Served, model: str) -> Adapter | None:
        """As `resolve`, but nothing of its files is read."""
        return await self._known(lambda: served.names.resolve(model))

    async def load(self, served: Served, wish: LoadAdapterRequest) -> None:
        """Raises AdapterExists, AdapterError, and RequestError for name and path."""
        name = wish.lora_name
        if fault := name_fault(name):
            raise RequestError(f"'lora_name' is {name!r:.80}: {fault}", param="lora_name")
        if name == served.name:
            raise RequestError(
                f"'lora_name' is {name!r:.80}, the name of the base model: choose another",
                param="lora_name",
            )
        if name in self._engine.adapters.current and not wish.load_inplace:
            raise AdapterExists(f"the adapter {name!r:.80} is loaded", param="lora_name")
        path = await self._disk.run(self._places.locate, wish.lora_path)
        await self._disk.run(served.formats.check, name, path)
        await self._engine.call(LoadAdapter(name, path, wish.load_inplace, wish.pinned))
        self._unloaded.discard(name)

    async def unload(self, name: str) -> None:
        """Raises ModelNotFound."""
        is_in_directory = await self._disk.run(self._places.find, name) is not None
        was_unloaded = name in self._unloaded
        if is_in_directory:
            self._unloaded.add(name)  # first: nobody who names it meanwhile may bring it back
        try:
            await self._engine.call(UnloadAdapter(name))
        except Exception:
            if not was_unloaded:
                self._unloaded.discard(name)
            raise

    async def pin(self, served: Served, name: str, *, is_pinned: bool) -> Sequence[AdapterStatus]:
        """What has become of it. Raises ModelNotFound, and AdapterError where it has no room."""
        await self._known(lambda: served.names.adapter(name))
        return await self._engine.call(PinAdapter(name, is_pinned))

    def close(self) -> None:
        self._disk.close()

    async def _found(self, served: Served, select: Callable[[], Adapter | None]) -> Adapter | None:
        """What `select` selects; the directory is looked into where it knows no such name."""
        adapter = await self._known(select)
        if not served.formats.is_known(adapter):
            assert adapter is not None  # the base model is known
            await self._disk.run(self._prepare, served.formats, adapter)
        return adapter

    async def _known(self, select: Callable[[], Adapter | None]) -> Adapter | None:
        for _ in range(_MOST_NAMES):
            try:
                return select()
            except UnknownAdapter as unknown:
                if not await self._register(unknown.name):
                    raise
        return select()

    async def _register(self, name: str) -> bool:
        """Whether the directory has an adapter of this name: requests may name it then.

        All who ask for it at once wait for the same answer.
        """
        if self._places.directory is None or name in self._unloaded:
            return False
        registering = self._registering.get(name)
        if registering is None:
            registering = asyncio.create_task(self._look_for(name))
            self._registering[name] = registering
            registering.add_done_callback(lambda task: self._registering.pop(name))
        return await asyncio.shield(registering)

    async def _look_for(self, name: str) -> bool:
        path = await self._disk.run(self._places.find, name)
        if path is None:
            return False
        with suppress(AdapterExists):  # loaded meanwhile: that is as good
            await self._engine.call(RegisterAdapter(Adapter(name, None, 0, 0, 0, path)))
        return True

    def _prepare(self, formats: PromptFormats, adapter: Adapter) -> None:
        """Read what its prompts need. It may have been found long ago: nothing has led out then."""
        self._places.check(adapter.path)
        formats.of(adapter)
