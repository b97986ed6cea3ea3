"""Which model a request means: the base model, or one of its adapters."""

import difflib
from bisect import bisect, bisect_left, insort
from collections.abc import Iterable

from motet.client.protocol import GenerationRequest
from motet.engine import Adapter, AdapterMirror
from motet.errors import ModelNotFound, RequestError

SEPARATOR = ":"
"""Between the base model and an adapter in `base:adapter`."""

ALIASES = ("lora_path", "adapter_id")
"""Fields of a request that name an adapter, as other engines call them."""

MAX_SHOWN_CHARS = 80
"""Of a name that was asked for; longer names are not proposed."""

_NUM_PROPOSED = 3
_NUM_NEIGHBOURS = 32
_MANY_CHANGED = 256
"""To sort anew costs less."""


class UnknownAdapter(ModelNotFound):
    """No adapter has the name `name`, which may yet be found somewhere."""

    def __init__(self, message: str, *, name: str, param: str) -> None:
        super().__init__(message, param=param)
        self.name = name


class Names:
    """Every name that a request can use now: adapters come and go."""

    def __init__(self, base: str, mirror: AdapterMirror, *, is_lora_enabled: bool = False) -> None:
        """With `is_lora_enabled` there may be adapters later, even if there are none now."""
        self.base = base
        self.mirror = mirror
        self._is_lora_enabled = is_lora_enabled
        self._spellings = Spellings([base, *mirror.current])
        self._spelt_version = mirror.version

    def select(self, wish: GenerationRequest) -> Adapter | None:
        """The adapter that `wish` asks for; None for the base model. Raises RequestError.

        An alias in the body selects where `model` names the base model; beyond that, all names
        that are given must mean the same: none of them wins silently.
        """
        meant = {"model": self.resolve(wish.model or self.base)}
        for field in ALIASES:
            if (name := getattr(wish, field)) is not None:
                meant[field] = self.adapter(name, field=field)
        chosen = {field: adapter for field, adapter in meant.items() if adapter is not None}
        [(first, adapter), *others] = chosen.items() or [("model", None)]
        for field, other in others:
            if other is not adapter:
                given, expected = (f"{getattr(wish, name)!r:.80}" for name in (field, first))
                raise RequestError(
                    f"'{field}' is {given}, but '{first}' is {expected}: give only one of them",
                    code="adapter_conflict",
                    param=field,
                )
        return adapter

    def resolve(self, model: str) -> Adapter | None:
        """The adapter that `model` names; None for the base model. Raises ModelNotFound."""
        if (adapter := self.mirror.current.get(model)) is not None:
            return adapter
        if model in (self.base, self.base + SEPARATOR):
            return None
        prefix = self.base + SEPARATOR
        if model.startswith(prefix):
            return self.adapter(model.removeprefix(prefix), model)
        raise self._unknown(model, model, "model")

    def adapter(self, name: str, given: str | None = None, field: str = "model") -> Adapter:
        """The adapter of this name, which `field` has as `given`. Raises ModelNotFound."""
        adapter = self.mirror.current.get(name)
        if adapter is not None:
            return adapter
        if not self.mirror.current and not self._is_lora_enabled:
            raise ModelNotFound(
                f"the adapter {name!r:.80} does not exist: LoRA is not enabled, because this "
                "server was started without adapters",
                param=field,
            )
        raise self._unknown(name, given or name, field)

    def _unknown(self, name: str, given: str, field: str) -> UnknownAdapter:
        near = " or ".join(f"'{spelt}'" for spelt in self._spelt().near(name))
        remedy = f"did you mean {near}?" if near else "GET /v1/models lists all"
        message = f"the model {given!r:.80} does not exist: {remedy}"
        return UnknownAdapter(message, name=name, param=field)

    def _spelt(self) -> "Spellings":
        """Of all names that there are now."""
        if self._spelt_version != self.mirror.version:
            self._spelt_version = self.mirror.version
            self._spellings.follow({self.base, *self.mirror.current})
        return self._spellings


class Spellings:
    """Finds what a misspelt name may have meant, at a cost that thousands of names do not raise.

    A slip leaves most of a name before it, or most of it behind: candidates are the neighbours in
    alphabetical order, read from the front and from the back.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names: set[str] = set()
        self._forward: list[str] = []
        self._backward: list[str] = []
        self.follow(set(names))

    def follow(self, names: set[str]) -> None:
        """Propose these from now on. A few that come or go cost little."""
        changed = names ^ self._names
        self._names = names
        short = [name for name in changed if len(name) <= MAX_SHOWN_CHARS]
        if len(short) > _MANY_CHANGED:
            self._forward = sorted(name for name in names if len(name) <= MAX_SHOWN_CHARS)
            self._backward = sorted(name[::-1] for name in self._forward)
            return
        for name in short:
            change = insort if name in names else _remove
            change(self._forward, name)
            change(self._backward, name[::-1])

    def near(self, name: str) -> list[str]:
        """Up to three names that look like `name`, the nearest first."""
        name = name[:MAX_SHOWN_CHARS]
        candidates = dict.fromkeys(_neighbours(self._forward, name))
        candidates |= dict.fromkeys(near[::-1] for near in _neighbours(self._backward, name[::-1]))
        return difflib.get_close_matches(name, candidates, _NUM_PROPOSED)


def _remove(ordered: list[str], name: str) -> None:
    del ordered[bisect_left(ordered, name)]


def _neighbours(ordered: list[str], name: str) -> list[str]:
    place = bisect(ordered, name)
    return ordered[max(0, place - _NUM_NEIGHBOURS) : place + _NUM_NEIGHBOURS]
