"""KV pages: those of running sequences, and full ones kept for whoever has the same tokens."""

from collections.abc import Iterator, Sequence

from motet.errors import BrokenInvariant
from motet.memory.agreement import must_agree
from motet.memory.block_table import BlockTable
from motet.memory.page import Lease, PageOwner
from motet.memory.prefix import Chain, Namespace, PrefixIndex, PrefixNode
from motet.memory.residency import Rank
from motet.memory.room import Room


class KvCache:
    """Block tables of running sequences over one index of sealed pages.

    Running out of pages is an answer (False): the caller decides whom to preempt.
    """

    def __init__(self, room: Room, page_tokens: int) -> None:
        """`page_tokens`: what other engines call the block size."""
        self.page_tokens = page_tokens
        self._room = room
        self._index = PrefixIndex(page_tokens)
        self._tables: dict[BlockTable, None] = {}
        self._num_own_pages = 0

    @property
    def num_own_pages(self) -> int:
        """Pages that the open tables had computed themselves, each counted once."""
        return self._num_own_pages

    def pages_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self.page_tokens)

    def match(
        self, chain: Chain, namespace: Namespace, tokens: Sequence[int], num_tokens: int
    ) -> None:
        """Bring `chain` up to date: the sealed pages with a prefix of the first `num_tokens`.

        Valid until the next eviction.
        """
        self._index.match(chain, namespace, tokens, num_tokens)

    def open(self, namespace: Namespace, prefix: Chain, rank: Rank) -> BlockTable:
        """A table that begins with the pages of `prefix` (from `match`)."""
        pages = tuple(node.page for node in prefix)
        table = BlockTable(namespace, rank, pages, list(prefix), num_borrowed=len(prefix))
        self._tables[table] = None
        for node in prefix:
            self._room.acquire(node)
        return table

    def grow(self, table: BlockTable, num_tokens: int) -> bool:
        """Make room for positions 0..num_tokens. False, and nothing changed, without pages."""
        if num_tokens <= len(table.pages) * self.page_tokens:
            return True
        num_missing = self.pages_for(num_tokens) - len(table.pages)
        if not self._room.make(num_missing, table.rank):
            return False
        leases = [self._lease_page() for _ in range(num_missing)]
        table.private += leases
        table.pages += tuple(lease.pages[0] for lease in leases)
        self._num_own_pages += num_missing
        return True

    def seal(self, table: BlockTable, tokens: Sequence[int], num_computed: int) -> None:
        """Let others find the pages that the first `num_computed` of `tokens` fill.

        Elsewhere: to commit full blocks to the prefix cache. Where an equal page exists already,
        the table takes that one and gives its own back.
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
            self._room.pool.relabel(lease, PageOwner.QUARANTINED)

    def close(self, table: BlockTable) -> None:
        """Give up every page. Sealed pages stay for others, the last one first in line to go."""
        del self._tables[table]
        self._num_own_pages -= table.num_own
        for lease in reversed(table.private):
            self._room.give_back(lease)
        for node in reversed(table.nodes):
            self._room.release(node)

    def forget(self, table: BlockTable) -> None:
        """Leave nothing of a closed table for others.

        Pages that another sequence uses as well stay; their content is that one's affair.
        """
        unused = next((node for node in table.nodes if node.is_idle), None)
        if unused is not None:  # every page after it is unused too, and goes with it
            self._room.evict(unused)

    def states(self) -> list[PrefixNode]:
        """Every sealed page, parents first."""
        return list(self._index)

    def leases(self) -> Iterator[Lease]:
        """Those of pages that are not sealed."""
        for table in self._tables:
            yield from table.private

    def check(self) -> None:
        """Raise BrokenInvariant on the first table, reference or count that is wrong."""
        nodes = self.states()
        must_agree("references", {n: n.references for n in nodes}, self._references_held(nodes))
        must_agree("own pages", self._num_own_pages, sum(t.num_own for t in self._tables))
        for table in self._tables:
            held = [node.page for node in table.nodes]
            held += [page for lease in table.private for page in lease.pages]
            must_agree("pages of a table", table.pages, tuple(held))
        for node in nodes:
            if node.parent is not None and node.references > node.parent.references:
                raise BrokenInvariant(f"{node} is in use without its parent")

    def _lease_page(self) -> Lease:
        """One of those that are free: each is sealed by itself."""
        lease = self._room.pool.reserve(1, PageOwner.KV)
        assert lease is not None
        return lease

    def _seal_next(self, table: BlockTable, tokens: tuple[int, ...]) -> None:
        parent = table.nodes[-1] if table.nodes else None
        lease = table.private.pop(0)
        node = self._index.find(table.namespace, parent, tokens)
        if node is None:
            node = self._index.insert(table.namespace, parent, tokens, lease)
            node.references = 1  # of this table, so it is never idle on the way
        else:
            self._room.give_back(lease)
            self._room.acquire(node)
            table.num_borrowed += 1
            self._num_own_pages -= 1
            place = len(table.nodes)
            table.pages = (*table.pages[:place], node.page, *table.pages[place + 1 :])
        table.nodes.append(node)

    def _references_held(self, nodes: list[PrefixNode]) -> dict[PrefixNode, int]:
        held = dict.fromkeys(nodes, 0)
        for table in self._tables:
            for node in table.nodes:
                held[node] = held.get(node, 0) + 1
        return held
