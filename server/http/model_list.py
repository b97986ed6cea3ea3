"""The names that requests may use as `model`, as cards."""

import re
from collections.abc import Iterable
from itertools import chain

import msgspec
from msgspec import UNSET, Raw, Struct

from motet.client.protocol import AdapterCard, ModelCard
from motet.engine import Adapter
from motet.server.http.aside import Aside
from motet.server.text.served import Served

_LEAVING = re.compile(r"(?P<name>.*)@(?P<generation>[0-9]{1,18})", re.DOTALL)


class ModelListBody:
    """The answer with all cards, made beside the loop when there are other adapters than before."""

    def __init__(self) -> None:
        self._version = -1
        self._body = b""

    async def get(self, served: Served, aside: Aside) -> bytes:
        mirror = served.names.mirror
        version = mirror.version
        if version == self._version:
            return self._body
        current, leaving = tuple(mirror.current.values()), tuple(mirror.leaving.values())
        body = await aside.run(_encoded, served, current, leaving)
        if version > self._version:  # else a later one was faster
            self._version, self._body = version, body
        return body


def base_card(served: Served) -> ModelCard:
    return ModelCard(
        id=served.name,
        created=served.since_s,
        root=served.info.model,
        max_model_len=served.info.max_model_len,
        vocab_size=served.info.vocab_size,
        simulated_link_gbps=served.info.link_gbps or UNSET,
    )


def adapter_card(served: Served, adapter: Adapter, *, is_leaving: bool = False) -> ModelCard:
    return ModelCard(
        id=f"{adapter.name}@{adapter.generation}" if is_leaving else adapter.name,
        created=served.since_s,
        root=adapter.path,
        parent=served.name,
        max_model_len=served.info.max_model_len,
        vocab_size=served.info.vocab_size,
        adapter=AdapterCard(
            digest=adapter.digest,
            generation=adapter.generation,
            max_rank=adapter.max_rank or None,
            num_pages=adapter.num_pages or None,
        ),
    )


def leaving_named(served: Served, model: str) -> Adapter | None:
    """The generation that is leaving and listed as `model`."""
    match = _LEAVING.fullmatch(model)
    key = (match["name"], int(match["generation"])) if match else None
    return served.names.mirror.leaving.get(key) if key else None


class _EncodedList(Struct, kw_only=True, frozen=True):
    """As ModelList, with cards that are encoded already."""

    object: str = "list"
    data: list[Raw]


def _encoded(served: Served, current: Iterable[Adapter], leaving: Iterable[Adapter]) -> bytes:
    """Takes a while for thousands: card by card, so that the loop gets its turn in between."""
    cards = chain(
        (base_card(served),),
        (adapter_card(served, adapter) for adapter in current),
        (adapter_card(served, adapter, is_leaving=True) for adapter in leaving),
    )
    return msgspec.json.encode(_EncodedList(data=[Raw(msgspec.json.encode(c)) for c in cards]))
