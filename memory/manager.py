"""The door to memory: KV pages and adapters in one pool, and what moves between host and device."""

from msgspec import Struct

from motet.memory.adapter import Adapter
from motet.memory.adapter_cache import AdapterCache
from motet.memory.agreement import must_agree
from motet.memory.block_table import BlockTable
from motet.memory.copies import Copies
from motet.memory.copy import CopyEnded, Transfers
from motet.memory.eviction import EvictionPolicy
from motet.memory.kv_cache import KvCache
from motet.memory.page import PageOwner
from motet.memory.prefix import Chain, Namespace, num_idle
from motet.memory.residency import Rank, Residency
from motet.memory.room import Answer, Room


class MemoryCounts(Struct, frozen=True, kw_only=True):
    """Counters only grow; the others are momentary."""

    pages_free: int = 0
    pages_kv: int = 0
    pages_adapter: int = 0
    pages_transfer: int = 0
    pages_quarantined: int = 0
    idle_pages_kv: int = 0
    """Of `pages_kv`, those kept for reuse that no request uses now."""
    idle_pages_adapter: int = 0
    kv_page_evictions: int = 0
    adapter_page_evictions: int = 0
    adapter_loads: int = 0
    host_pages: int = 0
    """All there are on the host, and what they are used for:"""
    host_pages_free: int = 0
    host_pages_kv: int = 0
    host_pages_adapter: int = 0
    host_pages_transfer: int = 0
    host_pages_quarantined: int = 0
    host_kv_page_evictions: int = 0
    host_adapter_page_evictions: int = 0
    adapter_reads: int = 0
    """From disk to host."""
    adapter_hits_device: int = 0
    """Requests whose adapter was on the device when they came; on the host; on disk."""
    adapter_hits_host: int = 0
    adapter_hits_disk: int = 0
    loaded_pages: int = 0
    """From host to device, KV and adapters."""
    restored_kv_pages: int = 0
    """Those of KV among them."""
    written_back_kv_pages: int = 0
    """From device to host."""
    read_pages: int = 0
    """From disk to host."""
    load_s: float = 0.0
    """From the beginnings of copies to the device to their ends, all in all."""


class MemoryManager:
    """One tier of memory on the device and the link that fills it. Decides nothing about requests.

    `kv` and `adapters` are two caches side by side; they share `room`, and thus one order in which
    idle state makes place for what is needed.
    """

    def __init__(
        self, num_pages: int, page_tokens: int, base_model: str, eviction: EvictionPolicy
    ) -> None:
        self.room = Room(num_pages, eviction)
        self.copies = Copies()
        self.kv = KvCache(self.room, page_tokens)
        self.adapters = AdapterCache(self.room, self.copies)
        self._base_model = base_model

    @property
    def num_pages(self) -> int:
        return self.room.pool.num_pages

    @property
    def version(self) -> int:
        """While it stays the same, what did not fit does not fit and what was not ready is not."""
        return self.room.version

    def namespace(self, adapter: Adapter | None, cache_salt: str) -> Namespace:
        return Namespace(self._base_model, adapter.digest if adapter else None, cache_salt)

    def pages_beside(self, rank: Rank, prefix: Chain, digest: str | None) -> int:
        """Pages that sequences may compute themselves once `rank` runs, beside all else in use.

        It uses its prefix and its adapter as well, which may be idle now.
        """
        room = self.room
        num_others = room.num_busy_pages - self.kv.num_own_pages
        num_others += room.num_kept_pages(rank) + num_idle(prefix)
        adapter = self.adapters.get(digest) if digest else None
        if adapter and adapter.is_idle and (adapter.wanted is None or adapter.wanted >= rank):
            num_others += adapter.size
        return room.pool.num_pages - num_others

    def hurry(self, table: BlockTable, num_tokens: int) -> bool:
        """Take back what is on its way to others, as far as the table cannot grow without it.

        False, and nothing changed, if it cannot grow even then.
        """
        num_pages = self.kv.pages_for(num_tokens) - len(table.pages)
        if self.room.answer(num_pages, table.rank) is Answer.NO:
            return False
        self.adapters.hurry(num_pages, table.rank)
        return True

    @property
    def is_busy(self) -> bool:
        """Is anything on its way?"""
        return len(self.copies) > 0

    @property
    def next_due_s(self) -> float | None:
        """When to `tick` at the latest."""
        return self.copies.next_due_s

    def ended(self, event: CopyEnded) -> dict[str, str]:
        """A copy has ended. Digest -> why, of adapters that do not come."""
        return self.adapters.ended(event)

    def tick(self, now: float) -> dict[str, str]:
        """So late is it. Digest -> why, of adapters that do not come."""
        self.copies.now = now
        return self.adapters.look_for_lost()

    def transfers(self) -> Transfers:
        """What the executor has to hear, since the last call."""
        copies, cancelled = self.copies.take()
        return Transfers(self.room.pool.take_released(), copies, cancelled)

    def counts(self) -> MemoryCounts:
        room, pool = self.room, self.room.pool
        return MemoryCounts(
            pages_free=pool.num_free,
            pages_kv=pool.count(PageOwner.KV),
            pages_adapter=pool.count(PageOwner.ADAPTER),
            pages_transfer=pool.count(PageOwner.TRANSFER),
            pages_quarantined=pool.count(PageOwner.QUARANTINED),
            idle_pages_kv=room.idle_pages(PageOwner.KV),
            idle_pages_adapter=room.idle_pages(PageOwner.ADAPTER),
            kv_page_evictions=room.evicted_pages[PageOwner.KV],
            adapter_page_evictions=room.evicted_pages[PageOwner.ADAPTER],
            adapter_loads=self.copies.counters.begun,
        )

    def check(self) -> None:
        """Walk everything; raise BrokenInvariant on the first count or state that is wrong."""
        nodes, adapters = self.kv.states(), self.adapters.states()
        states = [*nodes, *adapters]
        self.room.check(states)
        leases = [*self.kv.leases(), *(state.lease for state in states if state.lease)]
        leases += [copy.lease for copy in self.copies if copy.is_given_up]
        num_leased = self.num_pages - self.room.pool.num_free
        must_agree("leased pages", num_leased, sum(len(lease.pages) for lease in leases))
        must_agree("leases held once", len(leases), len(set(leases)))
        for state in states:
            has_pages = state.is_on_device or state.state is Residency.LOADING
            must_agree(f"{state} has pages", state.lease is not None, has_pages)
        self.kv.check()
        self.adapters.check()
