"""Which model a request means: the base model, or one of its adapters."""

import difflib
from bisect import bisect
from collections.abc import Iterable, Mapping

from motet.client.protocol import GenerationRequest
from motet.engine import Adapter
from motet.errors import ModelNotFound, RequestError

SEPARATOR = ":"
"""Between the base model and an adapter in `base:adapter`."""

ALIASES = ("lora_path", "adapter_id")
"""Fields of a request that name an adapter, as other engines call them."""

MAX_SHOWN_CHARS = 80
"""Of a name that was asked for; longer names are not proposed."""

_NUM_PROPOSED = 3
_NUM_NEIGHBOURS = 32


class Names:
    """Every name that a request can use. Immutable."""

    def __init__(self, base: str, adapters: Mapping[str, Adapter]) -> None:
        self.base = base
        self.adapters = adapters
        self._spellings = Spellings((base, *adapters))

    def select(self, wish: GenerationRequest) -> Adapter | None:
        """The adapter that `wish` asks for; None for the base model. Raises RequestError.

        An alias in the body selects where `model` names the base model; beyond that, all names
        that are given must mean the same: none of them wins silently.
        """
        meant = {"model": self.resolve(wish.model or self.base)}
        for field in ALIASES:
            if (name := getattr(wish, field)) is not None:
                meant[field] = self._adapter(name, name, field)
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
        if model in self.adapters:
            return self.adapters[model]
        if model in (self.base, self.base + SEPARATOR):
            return None
        prefix = self.base + SEPARATOR
        if model.startswith(prefix):
            return self._adapter(model.removeprefix(prefix), model, "model")
        raise self._unknown(model, model, "model")

    def _adapter(self, name: str, given: str, field: str) -> Adapter:
        if not self.adapters:
            raise ModelNotFound(
                f"the adapter {name!r:.80} does not exist: LoRA is not enabled, because this "
                "server was started without adapters",
                code="model_not_found",
                param=field,
            )
        if name not in self.adapters:
            raise self._unknown(name, given, field)
        return self.adapters[name]

    def _unknown(self, name: str, given: str, field: str) -> ModelNotFound:
        near = " or ".join(f"'{spelt}'" for spelt in self._spellings.near(name))
        remedy = f"did you mean {near}?" if near else "GET /v1/models lists all"
        return ModelNotFound(
            f"the model {given!r:.80} does not exist: {remedy}", code="model_not_found", param=field
        )


class Spellings:
    """Finds what a misspelt name may have meant, at a cost that thousands of names do not raise.

    A slip leaves most of a name before it, or most of it behind: candidates are the neighbours in
    alphabetical order, read from the front and from the back.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._forward = sorted(name for name in names if len(name) <= MAX_SHOWN_CHARS)
        self._backward = sorted(name[::-1] for name in self._forward)

    def near(self, name: str) -> list[str]:
        """Up to three names that look like `name`, the nearest first."""
        name = name[:MAX_SHOWN_CHARS]
        candidates = dict.fromkeys(_neighbours(self._forward, name))
        candidates |= dict.fromkeys(near[::-1] for near in _neighbours(self._backward, name[::-1]))
        return difflib.get_close_matches(name, candidates, _NUM_PROPOSED)


def _neighbours(ordered: list[str], name: str) -> list[str]:
    place = bisect(ordered, name)
    return ordered[max(0, place - _NUM_NEIGHBOURS) : place + _NUM_NEIGHBOURS]
