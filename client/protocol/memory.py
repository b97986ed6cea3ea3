"""GET /v1/memory: whose the pages are, who waits, and what has moved."""

from msgspec import Struct


class Pages(Struct, kw_only=True, frozen=True):
    """Of one tier, at one moment: the others add up to `total`."""

    total: int
    free: int
    kv: int
    adapter: int
    transfer: int
    """A copy fills them."""
    quarantined: int
    """Nobody's, but a step or a copy may still write to them."""


class RequestCounts(Struct, kw_only=True, frozen=True):
    running: int
    waiting: int
    waiting_for_state: int
    """Of those that wait: their adapter or KV is on its way."""


class AdapterCounts(Struct, kw_only=True, frozen=True):
    current: int
    leaving: int
    loads: int
    """Copies to the device since the start."""
    reads: int
    """From disk since the start."""


class MovedPages(Struct, kw_only=True, frozen=True):
    """Since the start."""

    disk_to_host: int
    host_to_device: int
    device_to_host: int


class Memory(Struct, kw_only=True, frozen=True):
    """Answer of GET /v1/memory. All numbers are of one moment."""

    page_bytes: int
    pages: Pages
    """Of the device."""
    host: Pages
    requests: RequestCounts
    adapters: AdapterCounts
    moved: MovedPages
    simulated_link_gbps: float | None = None
    """Gigabits per second each way of a link that is slowed down for study; else None."""
