"""Adapters that come and go while a server runs: how to ask for it, and what there is."""

from typing import Annotated

from msgspec import Meta, Struct

Name = Annotated[str, Meta(min_length=1, max_length=512)]


class LoadAdapterRequest(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Body of POST /v1/load_lora_adapter and /load_lora_adapter."""

    lora_name: Name
    lora_path: Annotated[str, Meta(min_length=1, max_length=4096)]
    """A directory on the server's machine; relative paths count from its --adapter-dir."""
    load_inplace: bool = False
    """A name that is taken means this from then on."""
    pinned: bool = False
    """Keep it on the device."""


class UnloadAdapterRequest(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Body of POST /v1/unload_lora_adapter and /unload_lora_adapter."""

    lora_name: Name


class LoadedAdapters(Struct, kw_only=True, frozen=True):
    """Answer of POST /load_lora_adapter and /unload_lora_adapter."""

    success: bool
    loaded_adapters: dict[str, str]
    """Name -> path, of all that requests may name now."""


class AdapterQuery(Struct, kw_only=True, frozen=True):
    """Parameters of GET /v1/adapters."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    after: Annotated[str, Meta(max_length=512)] = ""
    """Begin behind this name."""
    in_use: bool = False
    """Only those that requests are on, the busiest first."""


class AdapterState(Struct, kw_only=True, frozen=True):
    """One generation of a name. What is not known before its files are read is null."""

    name: str
    generation: int
    digest: str | None
    standing: str
    """`current`, or `leaving`: replaced or unloaded, with requests that began on it."""
    state: str
    tier: str
    """The nearest place where it is: `device`, `host` or `disk`."""
    rank: int | None
    pages: int | None
    hits: int
    """Requests that began and found it on the device."""
    loads: int
    """Copies to the device."""
    evictions: int
    waiting: int
    running: int
    pinned: bool
    path: str
    last_error: str | None


class AdapterList(Struct, kw_only=True, frozen=True):
    """Answer of GET /v1/adapters, in order of name: ask for the next with `after` the last."""

    object: str = "list"
    data: list[AdapterState]
    has_more: bool
