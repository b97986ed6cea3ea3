"""Which adapters there are, as seen from outside of the engine."""

from collections.abc import Iterable, Mapping

from motet.memory.adapter import Adapter, AdapterNews, Standing

Key = tuple[str, int]
"""Name and generation."""


class AdapterMirror:
    """Follows what the engine reports of its generations. Changed by `update` alone."""

    def __init__(self, adapters: Iterable[Adapter] = ()) -> None:
        self._current = {adapter.name: adapter for adapter in adapters}
        self._leaving: dict[Key, Adapter] = {}
        self._version = 0

    @property
    def current(self) -> Mapping[str, Adapter]:
        """What each name means now. The same object always, with what has changed."""
        return self._current

    @property
    def leaving(self) -> Mapping[Key, Adapter]:
        """Unloaded or replaced, with requests that began on them."""
        return self._leaving

    @property
    def version(self) -> int:
        """While it stays the same, so does everything here."""
        return self._version

    def has(self, name: str, generation: int) -> bool:
        """Is there such a generation, current or leaving?"""
        current = self._current.get(name)
        return (current is not None and current.generation == generation) or (
            (name, generation) in self._leaving
        )

    def update(self, news: Iterable[AdapterNews]) -> None:
        """In the order in which it was reported."""
        for item in news:
            adapter = item.adapter
            key = adapter.name, adapter.generation
            self._leaving.pop(key, None)
            if item.standing is Standing.CURRENT:
                self._current[adapter.name] = adapter
            else:
                self._remove_current(key)
                if item.standing is Standing.LEAVING:
                    self._leaving[key] = adapter
            self._version += 1

    def _remove_current(self, key: Key) -> None:
        name, generation = key
        current = self._current.get(name)
        if current is not None and current.generation == generation:
            del self._current[name]
