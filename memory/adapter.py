"""Who an adapter is: names bound to immutable contents."""

from dataclasses import dataclass

from motet.errors import AdapterError


@dataclass(frozen=True, slots=True)
class Adapter:
    """One generation of a name. Never changes; new content under the name is a new generation.

    `digest` identifies the content (what the kernels will see), so caches key on it alone and
    two names with equal content share pages. `generation` only tells which binding of the name a
    request runs on.
    """

    name: str
    digest: str
    generation: int
    max_rank: int
    num_pages: int


class AdapterRegistry:
    """Names -> adapters. Holds no bytes."""

    def __init__(self) -> None:
        self._current: dict[str, Adapter] = {}
        self._generations: dict[str, int] = {}

    def bind(self, name: str, digest: str, max_rank: int, num_pages: int) -> Adapter:
        """Bind `name` to a content, as its next generation. Raises AdapterError if it is taken."""
        if name in self._current:
            raise AdapterError(f"adapter name '{name}' is given twice: choose another name")
        generation = self._generations.get(name, 0) + 1
        self._generations[name] = generation
        adapter = Adapter(name, digest, generation, max_rank, num_pages)
        self._current[name] = adapter
        return adapter

    def get(self, name: str) -> Adapter | None:
        return self._current.get(name)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._current.values())
