"""GET /v1/models."""

from msgspec import UNSET, Struct, UnsetType


class AdapterCard(Struct, kw_only=True, frozen=True):
    digest: str
    generation: int
    max_rank: int
    num_pages: int


class ModelCard(Struct, kw_only=True, frozen=True):
    """A name that `model` may have in a request."""

    id: str
    object: str = "model"
    created: int
    owned_by: str = "motet"
    root: str
    parent: str | None = None
    """Base model of an adapter."""
    max_model_len: int
    vocab_size: int
    adapter: AdapterCard | UnsetType = UNSET


class ModelList(Struct, kw_only=True, frozen=True):
    """Answer of GET /v1/models: the base model first."""

    object: str = "list"
    data: list[ModelCard]
