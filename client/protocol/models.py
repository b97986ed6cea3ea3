"""GET /v1/models."""

from msgspec import UNSET, Struct, UnsetType


class AdapterCard(Struct, kw_only=True, frozen=True, gc=False):  # there may be thousands
    """What is not known before its files are read is null."""

    digest: str | None
    generation: int
    max_rank: int | None
    num_pages: int | None


class ModelCard(Struct, kw_only=True, frozen=True, gc=False):
    """A name that `model` may have in a request; or `name@generation`, which is replaced or
    unloaded, and still has requests that began on it.
    """

    id: str
    object: str = "model"
    created: int
    owned_by: str = "motet"
    root: str
    parent: str | None = None
    """Base model of an adapter."""
    max_model_len: int
    vocab_size: int
    simulated_link_gbps: float | UnsetType = UNSET
    """Of the base model, where copies between device and host are slowed down for study: so many
    gigabits per second each way."""
    adapter: AdapterCard | UnsetType = UNSET


class ModelList(Struct, kw_only=True, frozen=True):
    """Answer of GET /v1/models: the base model first."""

    object: str = "list"
    data: list[ModelCard]
