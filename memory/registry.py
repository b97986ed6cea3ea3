"""Names -> generations -> contents: which adapter a request means, and how long it lives on."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace

from motet.errors import AdapterExists, ModelNotFound, MotetError, error_named
from motet.memory.adapter import Adapter, AdapterContent, AdapterNews, AdapterStatus, Standing
from motet.memory.adapter_cache import AdapterCache, AdapterState, Failure
from motet.memory.agreement import must_agree

MAX_REMEMBERED = 4096
"""Names that are gone whose numbers are not used again."""


@dataclass(slots=True, eq=False)
class Generation:
    """One binding of a name to a content, from its load to the last request on it."""

    adapter: Adapter
    """As far as it is known."""
    state: AdapterState
    standing: Standing = Standing.CURRENT
    num_requests: int = 0
    """Unfinished ones."""
    is_pinned: bool = False
    last_error: str | None = None
    """Why it did not come when it was last wanted."""
    last_error_kind: str = ""
    """Name of the error in `motet.errors`."""

    def error(self) -> MotetError:
        """What it did not come for."""
        assert self.last_error is not None
        return error_named(self.last_error_kind, self.last_error)

    def __str__(self) -> str:
        return f"adapter {self.adapter.name}@{self.adapter.generation}"


class AdapterRegistry:
    """Every generation that is current or still in use. Reads nothing, moves nothing.

    A name has at most one current generation. One that is leaving is gone as soon as no request
    runs on it; with its last generation a content leaves memory.
    """

    def __init__(self, cache: AdapterCache) -> None:
        self._cache = cache
        self._names: dict[str, dict[int, Generation]] = {}
        self._of_state: dict[AdapterState, list[Generation]] = {}
        self._last_numbers: OrderedDict[str, int] = OrderedDict()
        self._news: list[AdapterNews] = []

    def __len__(self) -> int:
        return sum(map(len, self._names.values()))

    def __iter__(self) -> Iterator[Generation]:
        return (generation for known in self._names.values() for generation in known.values())

    # Names.

    def meant_by(self, name: str) -> Generation | None:
        """What the name means now, if anything."""
        known = self._names.get(name, {}).values()
        return next((g for g in known if g.standing is Standing.CURRENT), None)

    def current(self, name: str) -> Generation:
        """What the name means now. Raises ModelNotFound."""
        generation = self.meant_by(name)
        if generation is None:
            raise ModelNotFound(
                f"the adapter {name!r:.80} has never been loaded, or is unloaded: "
                "GET /v1/adapters lists all",
                code="model_not_found",
            )
        return generation

    def find(self, adapter: Adapter) -> Generation | None:
        """What a request means that was sent when `adapter` was known: if that is gone since then,
        what its name means now."""
        known = self._names.get(adapter.name, {}).get(adapter.generation)
        return known or self.meant_by(adapter.name)

    def must_be_free(self, name: str) -> None:
        """Raises AdapterExists."""
        known = self.meant_by(name)
        if known is not None:
            raise AdapterExists(
                f"The lora adapter '{name}' has already been loaded from '{known.adapter.path}': "
                "unload it first, or set load_inplace",
                code="adapter_exists",
            )

    def add(self, adapter: Adapter, *, is_current: bool = True) -> Generation:
        """A new generation of its name, of the next number. The one before is leaving."""
        content = AdapterContent(adapter.max_rank, adapter.num_pages, adapter.digest)
        state = self._cache.add(adapter.path, content if adapter.digest else None)
        generation = Generation(adapter, state)
        self._of_state.setdefault(state, []).append(generation)
        if is_current:
            self.activate(generation)
        return generation

    def activate(self, generation: Generation) -> None:
        """New requests that name it get this one from now on."""
        name = generation.adapter.name
        known = self._names.setdefault(name, {})
        for other in list(known.values()):
            self.retire(other)
        number = 1 + max([self._last_numbers.pop(name, 0), *known])
        generation.adapter = replace(self._as_known(generation), generation=number)
        self._names.setdefault(name, {})[number] = generation
        self._tell(generation)

    def retire(self, generation: Generation) -> None:
        """No new request gets it."""
        if generation.standing is Standing.CURRENT:
            generation.standing = Standing.LEAVING
            self._tell(generation)
        self._end_if_unused(generation)

    def discard(self, generation: Generation) -> None:
        """One that has never been current."""
        self._detach(generation)

    # Requests.

    def arrived(self, generation: Generation) -> None:
        generation.num_requests += 1

    def finished(self, generation: Generation) -> None:
        generation.num_requests -= 1
        self._end_if_unused(generation)

    # Contents.

    def known(self, state: AdapterState) -> None:
        """More is known of a content."""
        for generation in self._of_state.get(state, ()):
            generation.last_error = None
            adapter = self._as_known(generation)
            if adapter != generation.adapter:
                generation.adapter = adapter
                if self._names.get(adapter.name, {}).get(adapter.generation) is generation:
                    self._tell(generation)

    def merged(self, state: AdapterState, into: AdapterState) -> None:
        """Two contents are the same."""
        generations = self._of_state.pop(state)
        self._of_state.setdefault(into, []).extend(generations)
        for generation in generations:
            generation.state = into
            if generation.is_pinned:
                self._cache.unpin(state)
                self._cache.pin(into)
        self.known(into)

    def failed(self, failure: Failure) -> None:
        for generation in self._of_state.get(failure.adapter, ()):
            generation.last_error = failure.error
            generation.last_error_kind = failure.kind

    def of(self, state: AdapterState) -> list[Generation]:
        """All that mean one content."""
        return list(self._of_state.get(state, ()))

    def pin(self, generation: Generation, is_pinned: bool) -> None:
        if generation.is_pinned != is_pinned:
            generation.is_pinned = is_pinned
            change = self._cache.pin if is_pinned else self._cache.unpin
            change(generation.state)

    # Reports.

    def take_news(self) -> tuple[AdapterNews, ...]:
        """Since the last call."""
        news, self._news = tuple(self._news), []
        return news

    def listed(self, after: str, limit: int, name: str | None) -> list[Generation]:
        """In order of name and number."""
        names = sorted(n for n in self._names if n > after) if name is None else [name]
        found: list[Generation] = []
        for each in names:
            if len(found) >= limit:
                break
            found += [generation for _, generation in sorted(self._names.get(each, {}).items())]
        return found

    def check(self) -> None:
        """Raise BrokenInvariant where names, contents and pins disagree."""
        named = {generation.state for generation in self}
        for generation in self:
            must_agree(f"{generation} is known", generation in self.of(generation.state), True)
            is_kept = generation.standing is Standing.CURRENT or generation.num_requests > 0
            must_agree(f"{generation} is needed", is_kept, True)
        states = set(self._cache.states())
        must_agree("contents", states, set(self._of_state))
        must_agree("named contents", named <= states, True)
        for state, generations in self._of_state.items():
            num_pins = sum(generation.is_pinned for generation in generations)
            must_agree(f"pins of {state}", state.num_pins, num_pins)
            must_agree(f"directories of {state}", len(state.paths), len(generations))

    def _as_known(self, generation: Generation) -> Adapter:
        content = generation.state.content
        if content is None:
            return generation.adapter
        return replace(
            generation.adapter,
            digest=content.digest,
            max_rank=content.max_rank,
            num_pages=content.num_pages,
        )

    def _end_if_unused(self, generation: Generation) -> None:
        if generation.standing is not Standing.LEAVING or generation.num_requests:
            return
        generation.standing = Standing.GONE
        name, number = generation.adapter.name, generation.adapter.generation
        del self._names[name][number]
        if not self._names[name]:
            del self._names[name]
        self._remember(name, number)
        self._tell(generation)
        self._detach(generation)

    def _detach(self, generation: Generation) -> None:
        """With the last one that means it goes the content."""
        self.pin(generation, False)
        state = generation.state
        self._of_state[state].remove(generation)
        if not self._of_state[state]:
            del self._of_state[state]
        self._cache.remove(state, generation.adapter.path)

    def _remember(self, name: str, number: int) -> None:
        """An elder generation may end after a younger one."""
        self._last_numbers[name] = max(number, self._last_numbers.pop(name, 0))
        if len(self._last_numbers) > MAX_REMEMBERED:
            self._last_numbers.popitem(last=False)

    def _tell(self, generation: Generation) -> None:
        self._news.append(AdapterNews(generation.adapter, generation.standing))


def status_of(generation: Generation, num_running: int) -> AdapterStatus:
    """What is known of a generation, on which so many requests run."""
    state = generation.state
    return AdapterStatus(
        adapter=generation.adapter,
        standing=generation.standing,
        state=state.state,
        is_pinned=generation.is_pinned,
        num_waiting=generation.num_requests - num_running,
        num_running=num_running,
        hits=state.hits,
        loads=state.loads,
        evictions=state.evictions,
        last_error=generation.last_error,
    )
