"""The only one that moves pages between free, KV and adapters."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from motet.errors import BrokenInvariant
from motet.memory.adapter import Adapter
from motet.memory.agreement import must_agree
from motet.memory.block_table import BlockTable
from motet.memory.eviction import EvictionPolicy
from motet.memory.page import Lease, PageId, PageOwner, PagePool
from motet.memory.prefix import Namespace, PrefixIndex, PrefixNode
from motet.memory.residency import ON_DEVICE, RESIDENCY, Residency, StateObject
from motet.memory.transition import move


@dataclass(slots=True, eq=False)
class AdapterState(StateObject):
    """The pages of one adapter content, shared by every name bound to it."""

    digest: str = field(kw_only=True)
    size: int = field(kw_only=True)
    """Pages the adapter takes on the device."""

    def __str__(self) -> str:
        return f"adapter {self.digest[:12]}"


@dataclass(slots=True)
class MemoryCounters:
    """Only grow."""

    kv_page_evictions: int = 0
    adapter_page_evictions: int = 0
    adapter_loads: int = 0


class MemoryManager:
    """Pages for sequences and adapters out of one pool, evicting what is idle to make room.

    Running out of pages is an answer (False or None). Nothing in use is ever evicted: the caller
    decides whom to preempt.
    """

    def __init__(
        self, num_pages: int, page_tokens: int, base_model: str, eviction: EvictionPolicy
    ) -> None:
        self.pool = PagePool(num_pages)
        self.page_tokens = page_tokens
        self.counters = MemoryCounters()
        self._base_model = base_model
        self._eviction = eviction
        self._idle_pages = {PageOwner.KV: 0, PageOwner.ADAPTER: 0}
        self._num_own_pages = 0
        self._index = PrefixIndex(page_tokens)
        self._adapters: dict[str, AdapterState] = {}
        self._tables: dict[BlockTable, None] = {}

    # Sizes.

    def pages_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self.page_tokens)

    @property
    def num_idle_pages(self) -> int:
        """Pages that an eviction would free."""
        return sum(self._idle_pages.values())

    def idle_pages(self, owner: PageOwner) -> int:
        """Those of them that hold KV, or adapters."""
        return self._idle_pages[owner]

    @property
    def num_busy_pages(self) -> int:
        """Pages that no eviction can free now; shared ones count once."""
        return self.pool.num_pages - self.pool.num_free - self.num_idle_pages

    @property
    def num_own_pages(self) -> int:
        """Pages that the open tables had computed themselves, each counted once."""
        return self._num_own_pages

    # KV of sequences.

    def namespace(self, adapter: Adapter | None, cache_salt: str) -> Namespace:
        return Namespace(self._base_model, adapter.digest if adapter else None, cache_salt)

    def match(
        self, namespace: Namespace, tokens: Sequence[int], num_tokens: int
    ) -> list[PrefixNode]:
        """Sealed pages with a prefix of the first `num_tokens`. Valid until the next eviction."""
        return self._index.match(namespace, tokens, num_tokens)

    def open_table(self, namespace: Namespace, prefix: list[PrefixNode]) -> BlockTable:
        """A table that begins with the pages of `prefix` (from `match`)."""
        pages = tuple(_page(node) for node in prefix)
        table = BlockTable(namespace, pages, list(prefix), num_borrowed=len(prefix))
        self._tables[table] = None
        for node in prefix:
            self._acquire(node)
        return table

    def grow(self, table: BlockTable, num_tokens: int) -> bool:
        """Make room for positions 0..num_tokens. False, and nothing changed, without pages."""
        if num_tokens <= len(table.pages) * self.page_tokens:
            return True
        missing = self.pages_for(num_tokens) - len(table.pages)
        if not self._make_room(missing):
            return False
        leases = [self._lease_page() for _ in range(missing)]
        table.private += leases
        table.pages += tuple(lease.pages[0] for lease in leases)
        self._num_own_pages += missing
        return True

    def seal(self, table: BlockTable, tokens: Sequence[int], num_computed: int) -> None:
        """Let others find the pages that the first `num_computed` of `tokens` fill.

        Where an equal page exists already, the table takes that one and gives its own back.
        """
        num_full = num_computed // self.page_tokens
        if num_full == len(table.nodes):  # as after most steps
            return
        for page in range(len(table.nodes), num_full):
            start = page * self.page_tokens
            self._seal_next(table, tuple(tokens[start : start + self.page_tokens]))

    def quarantine(self, table: BlockTable) -> None:
        """Its owner is gone but a running step still writes to it: hold until `close`."""
        for lease in table.private:
            self.pool.relabel(lease, PageOwner.QUARANTINED)

    def close(self, table: BlockTable) -> None:
        """Give up every page. Sealed pages stay for others, the last one first in line to go."""
        del self._tables[table]
        self._num_own_pages -= table.num_own
        for lease in reversed(table.private):
            self.pool.release(lease)
        for node in reversed(table.nodes):
            self._release(node)

    def forget(self, table: BlockTable) -> None:
        """Leave nothing of a closed table for others.

        Pages that another sequence uses as well stay; their content is that one's affair.
        """
        unused = next((node for node in table.nodes if node.is_idle), None)
        if unused is not None:  # every page after it is unused too, and goes with it
            self.evict(unused)

    # Adapters.

    def register(self, adapter: Adapter) -> None:
        """The adapter's host image is complete. Equal content under another name is the same."""
        if adapter.digest not in self._adapters:
            state = AdapterState(digest=adapter.digest, size=adapter.num_pages)
            move(state, Residency.HOST, RESIDENCY)
            self._adapters[adapter.digest] = state

    def adapter(self, digest: str) -> AdapterState | None:
        return self._adapters.get(digest)

    def acquire_adapter(self, state: AdapterState) -> bool:
        """Take a reference, leasing pages first if there are none. False without pages.

        After a True the state is LOADING (the caller sees to the load) or DUAL.
        """
        if state.state is Residency.HOST:
            if not self._make_room(state.size):
                return False
            state.lease = self.pool.reserve(state.size, PageOwner.TRANSFER)
            move(state, Residency.LOADING, RESIDENCY)
            self.counters.adapter_loads += 1
        self._acquire(state)
        return True

    def finish_load(self, digest: str) -> None:
        """The adapter's pages are complete. It is idle at once if all its users have gone."""
        state = self._adapters[digest]
        assert state.lease is not None
        self.pool.relabel(state.lease, PageOwner.ADAPTER)
        move(state, Residency.DUAL, RESIDENCY)
        if state.is_idle:
            self._become_idle(state)

    def release_adapter(self, state: AdapterState) -> None:
        self._release(state)

    def adapter_references(self) -> dict[str, int]:
        """Digest -> references, of the adapters in use."""
        return {d: state.references for d, state in self._adapters.items() if state.references}

    # Eviction.

    def idle(self) -> Iterator[StateObject]:
        """Every object that may be evicted, first victim first."""
        return iter(self._eviction)

    def evict(self, state: StateObject) -> None:
        """Free the pages of an idle object. With a KV page goes every page that builds on it."""
        if isinstance(state, PrefixNode):
            for node in reversed(list(self._index.subtree(state))):  # children first
                self._index.remove(node)
                self.counters.kv_page_evictions += 1
                self._free(node)
        else:
            move(state, Residency.HOST, RESIDENCY)
            self.counters.adapter_page_evictions += state.num_pages
            self._free(state)

    def check(self) -> None:
        """Walk everything; raise BrokenInvariant on the first count or state that is wrong."""
        self.pool.check()
        nodes, adapters = list(self._index), list(self._adapters.values())
        leases = [lease for table in self._tables for lease in table.private]
        leases += [state.lease for state in (*nodes, *adapters) if state.lease]
        num_leased = self.pool.num_pages - self.pool.num_free
        must_agree("leased pages", num_leased, sum(len(lease.pages) for lease in leases))
        must_agree("leases held once", len(leases), len(set(leases)))
        must_agree("references", {n: n.references for n in nodes}, self._references_held(nodes))
        idle = {state for state in (*nodes, *adapters) if state.is_idle}
        must_agree("idle objects", set(self._eviction), idle)
        for table in self._tables:
            held = [_page(node) for node in table.nodes]
            held += [page for lease in table.private for page in lease.pages]
            must_agree("pages of a table", table.pages, tuple(held))
        must_agree("own pages", self._num_own_pages, sum(t.num_own for t in self._tables))
        must_agree("idle pages", self.num_idle_pages, sum(state.num_pages for state in idle))
        for state in (*nodes, *adapters):
            has_pages = state.state in ON_DEVICE or state.state is Residency.LOADING
            must_agree(f"{state} has pages", state.lease is not None, has_pages)
        for node in nodes:
            if node.parent is not None and node.references > node.parent.references:
                raise BrokenInvariant(f"{node} is in use without its parent")

    # One place for each change.

    def _make_room(self, num_pages: int) -> bool:
        """Evict until so many pages are free; evict nothing when that cannot succeed."""
        if num_pages > self.pool.num_free + self.num_idle_pages:
            return False
        while self.pool.num_free < num_pages:
            victim = self._eviction.victim()
            assert victim is not None
            self.evict(victim)
        return True

    def _seal_next(self, table: BlockTable, tokens: tuple[int, ...]) -> None:
        parent = table.nodes[-1] if table.nodes else None
        lease = table.private.pop(0)
        node = self._index.find(table.namespace, parent, tokens)
        if node is None:
            node = self._index.insert(table.namespace, parent, tokens, lease)
            self._become_idle(node)
        else:
            self.pool.release(lease)
            table.num_borrowed += 1
            self._num_own_pages -= 1
            place = len(table.nodes)
            table.pages = (*table.pages[:place], _page(node), *table.pages[place + 1 :])
        table.nodes.append(node)
        self._acquire(node)

    def _lease_page(self) -> Lease:
        """A page for KV, of those that are free."""
        lease = self.pool.reserve(1, PageOwner.KV)
        assert lease is not None
        return lease

    def _acquire(self, state: StateObject) -> None:
        if state.is_idle:
            self._eviction.discard(state)
            self._count_idle(state, -1)
        state.references += 1

    def _release(self, state: StateObject) -> None:
        if state.references == 0:
            raise BrokenInvariant(f"{state} is released more often than acquired")
        state.references -= 1
        if state.is_idle:
            self._become_idle(state)

    def _become_idle(self, state: StateObject) -> None:
        self._eviction.add(state)
        self._count_idle(state, +1)

    def _count_idle(self, state: StateObject, sign: int) -> None:
        assert state.lease is not None
        self._idle_pages[state.lease.owner] += sign * state.num_pages

    def _free(self, state: StateObject) -> None:
        assert state.references == 0 and state.lease is not None
        self._eviction.discard(state)
        self._count_idle(state, -1)
        self.pool.release(state.lease)
        state.lease = None

    def _references_held(self, nodes: Iterable[PrefixNode]) -> dict[PrefixNode, int]:
        held = dict.fromkeys(nodes, 0)
        for table in self._tables:
            for node in table.nodes:
                held[node] = held.get(node, 0) + 1
        return held


def _page(node: PrefixNode) -> PageId:
    assert node.lease is not None
    return node.lease.pages[0]
