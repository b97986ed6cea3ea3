"""KV pages: those of running sequences, and full ones kept for whoever has the same tokens."""

from collections.abc import Iterator, Sequence
from itertools import takewhile

from motet.errors import BrokenInvariant
from motet.memory.agreement import must_agree
from motet.memory.block_table import BlockTable
from motet.memory.copies import UnderWay
from motet.memory.copy import Direction
from motet.memory.costs import Costs
from motet.memory.mover import Mover
from motet.memory.page import Lease, PageOwner
from motet.memory.prefix import (
    Chain,
    KvOwner,
    Namespace,
    PrefixIndex,
    PrefixNode,
    end_at,
    num_on_device,
)
from motet.memory.residency import HostCopy, Rank, Residency, Resident
from motet.memory.room import Answer, Room
from motet.memory.transition import move
from motet.memory.write_back import WriteBack

MAX_RESTORES = 8
"""Copies to the device that may be under way when one more is begun for KV: enough to keep a link
busy, few enough to take the next in order."""


class KvCache:
    """Block tables of running sequences over one index of sealed pages.

    Running out of pages is an answer (False): the caller decides whom to preempt.
    """

    def __init__(
        self,
        room: Room,
        mover: Mover,
        write_back: WriteBack,
        page_tokens: int,
        costs: Costs,
        *,
        knows_owners: bool,
    ) -> None:
        """`page_tokens`: what other engines call the block size. `knows_owners`: what they leave
        behind is not kept."""
        self.page_tokens = page_tokens
        self.room = room
        self._mover = mover
        self._write_back = write_back
        self._costs = costs
        self._is_written_back = mover.host.pool.num_pages > 0 and costs.restores(1, page_tokens)
        self._knows_owners = knows_owners
        self.copied_class = costs.copied()
        self.computed_class = costs.computed(page_tokens)
        self._away: set[str] = set()
        self._index = PrefixIndex(page_tokens, self)
        self._tables: dict[BlockTable, None] = {}
        self._num_own_pages = 0
        self.num_restores = 0
        """Copies to the device that were begun; only grows."""

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

        The first of them are on the device, the others on the host or on their way from there.
        Valid until the next eviction.
        """
        self._index.match(chain, namespace, tokens, num_tokens)

    def restore(self, chain: Chain, rank: Rank, *, is_idle: bool = True) -> bool:
        """Bring what `chain` has on the host to the device, unless it is computed sooner.

        True: it is worth waiting for. What has come is kept for `rank` until it is let go. Unless
        the device `is_idle` it has others to compute meanwhile: then it does not matter how long
        the link is busy with what was wanted before.
        """
        elsewhere = chain[num_on_device(chain) :]
        if not elsewhere or not self._is_sooner(elsewhere, is_idle):
            return False
        self._keep(chain, rank)
        if elsewhere[0].state is Residency.LOADING:
            self._mover.copies.hurry(self._mover.copies.of(elsewhere[0]))
            return True
        if self._mover.copies.num_in(Direction.TO_DEVICE) >= MAX_RESTORES:
            return True
        answer = self.room.answer(len(elsewhere), rank)
        if answer is Answer.SOON:
            num_missing = self.room.num_missing(len(elsewhere), rank)
            self._write_back.hurry(self.room, num_missing)
            answer = self.room.answer(len(elsewhere), rank)
        if answer is Answer.NOW:
            has_room = self.room.make(len(elsewhere), rank)
            assert has_room, "the answer was now"
            self._mover.load(elsewhere, self.room)
            self.num_restores += 1
        return answer is not Answer.NO

    def missing(self, frontier: PrefixNode) -> Chain:
        """What has to be copied so that all as far as the frontier is on the device; nothing where
        that takes longer than computing it, or is under way."""
        chain = self.elsewhere(frontier)
        is_at_rest = all(node.state is Residency.HOST for node in chain)
        num_tokens = len(chain) * self.page_tokens
        return chain if is_at_rest and self._costs.restores(len(chain), num_tokens) else []

    def elsewhere(self, frontier: PrefixNode) -> Chain:
        """What is not on the device of all as far as the frontier."""
        chain = list(takewhile(_is_elsewhere, frontier.path()))
        chain.reverse()
        return chain

    def restore_s(self, num_pages: int) -> float:
        """Seconds to have so many pages back that go now, the shorter way."""
        return self._costs.restore_s(num_pages, num_pages * self.page_tokens)

    def end_restore(self, ended: UnderWay) -> None:
        """What has not come is no help: it is computed again."""
        for node in reversed(ended.subjects):
            assert isinstance(node, PrefixNode)
            if node.state is Residency.HOST:
                self._drop(node)

    def let_go(self, chain: Chain, rank: Rank) -> None:
        """`rank` waits for none of these any more."""
        for node in chain:
            if node.wanted == rank:
                self.room.want(node, None)

    def open(self, namespace: Namespace, prefix: Chain, rank: Rank) -> BlockTable:
        """A table that begins with the pages of `prefix` (from `match`)."""
        pages = tuple(node.page for node in prefix)
        table = BlockTable(namespace, rank, pages, list(prefix), num_borrowed=len(prefix))
        self._tables[table] = None
        for node in prefix:
            self.room.acquire(node)
        return table

    def grow(self, table: BlockTable, num_tokens: int) -> bool:
        """Make room for positions 0..num_tokens. False, and nothing changed, without pages."""
        if num_tokens <= len(table.pages) * self.page_tokens:
            return True
        num_missing = self.pages_for(num_tokens) - len(table.pages)
        if not self.room.make(num_missing, table.rank):
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
            self.room.pool.relabel(lease, PageOwner.QUARANTINED)

    def close(self, table: BlockTable) -> None:
        """Give up every page. Sealed pages stay for others, the last one first in line to go."""
        del self._tables[table]
        self._num_own_pages -= table.num_own
        for lease in reversed(table.private):
            self.room.give_back(lease)
        for node in reversed(table.nodes):
            self.room.release(node)

    def forget(self, table: BlockTable) -> None:
        """Leave nothing of a closed table for others.

        Pages that another sequence uses as well stay; their content is that one's affair.
        """
        unused = next((node for node in table.nodes if node.is_idle), None)
        if unused is not None:  # every page after it is unused too, and goes with it
            self._drop(unused)

    def forget_adapter(self, digest: str) -> None:
        """Nobody will run on it any more."""
        for root in self.first_pages(digest):
            self._drop(root)

    def forget_left(self, frontier: PrefixNode) -> int:
        """Drop what nobody owns or uses any more, from here up; how many pages that were."""
        left = takewhile(lambda node: node.is_left and not node.references, frontier.path())
        num_pages = 0
        for node in list(left):
            if node.children:
                break
            self._drop(node)
            num_pages += 1
        return num_pages

    def forget_idle(self) -> None:
        """All that nobody uses, in both tiers."""
        for root in self._index.roots():
            for node in self._index.subtree(root):
                if not node.references:
                    self._drop(node)

    # Who owns it.

    def end_at(self, owner: KvOwner, chain: Sequence[PrefixNode], num_kept: int) -> None:
        """Its last call ends with these pages; the first `num_kept` it will want again.

        What it owned besides is superseded, as is the rest of these, unless others own it.
        """
        kept, frontier = chain[:num_kept], owner.frontier
        end_at(owner, kept[-1] if kept else None)
        distance_s = owner.distance_s
        for node in reversed(kept):
            is_news = node.is_left or node.nearest is None
            if is_news or (
                node.nearest is not owner and distance_s < node.nearest.distance_s  # type: ignore[union-attr]
            ):
                node.nearest = owner
            if is_news:
                node.is_left = False
                node.is_worthless = not self._is_written_back
                self.note(node)
                self._reconsider(node)
        if frontier is not None and frontier is not owner.frontier:
            still_owned = set(kept)
            for node in frontier.path():
                if node in still_owned:
                    break
                self._leave_behind(node)
        for node in reversed(chain[num_kept:]):
            self._leave_behind(node)

    def claim(self, owner: KvOwner) -> None:
        """All that it owns is needed when it is due: others are looked at when that comes up."""
        distance_s = owner.distance_s
        for node in owner.frontier.path() if owner.frontier else ():
            if node.nearest is None or distance_s < node.nearest.distance_s:
                node.nearest = owner

    def set_away(self, digest: str, is_away: bool) -> None:
        """Is the adapter in neither tier? What was computed on it is dead weight then."""
        if is_away is (digest in self._away):
            return
        (self._away.add if is_away else self._away.discard)(digest)
        if self._knows_owners:
            for node in self._index.subtree(*self.first_pages(digest)):
                self._reconsider(node)

    def first_pages(self, digest: str) -> list[PrefixNode]:
        """Of all that was computed on one adapter."""
        return self._index.of_adapter(digest)

    def has_adapter(self, namespace: Namespace) -> bool:
        return namespace.adapter_digest not in self._away

    # What becomes of a page that leaves a tier.

    def leave_device(self, node: PrefixNode) -> Iterator[Resident]:
        """With a page goes every page that builds on it, the last ones first.

        What has a copy on the host stays there, unless the page that it builds on is lost.
        """
        for each in reversed(list(self._index.leased_subtree(node))):
            if each.state in (Residency.LOADING, Residency.WRITEBACK):
                self._mover.give_up(self._mover.copies.of(each))
            if each.state is Residency.DUAL:
                move(each, Residency.HOST)
                assert each.host is not None
                self._mover.host.reconsider(each.host)
                for owner in each.ends_of:
                    owner.lose()
                self.note(each)
                yield each
            elif each.state is Residency.READY:
                for child in list(each.children.values()):
                    assert child.host is not None
                    self._mover.host.evict(child.host)
                self._index.remove(each)
                self.note(each)
                yield each

    def leave_host(self, node: PrefixNode) -> Iterator[HostCopy]:
        """What is on the device stays there; else every page that builds on it goes too."""
        going = [node] if node.is_on_device else reversed(list(self._index.subtree(node)))
        for each in going:
            copy, each.host = each.host, None
            assert copy is not None
            if each.is_on_device:
                move(each, Residency.READY)
            else:
                self._index.remove(each)
            yield copy
            self.note(each)

    def note(self, node: PrefixNode) -> None:
        """Keep the counts by which parents know whether they are clean."""
        if node.is_worthless:  # how it would be restored may have changed, and nothing else
            self.room.reconsider(node)
        while True:
            is_dirty = node.is_on_device and not node.is_clean
            if is_dirty is node.is_counted_dirty:
                return
            node.is_counted_dirty = is_dirty
            self.room.reconsider(node)
            if node.parent is None:
                return
            node.parent.num_dirty_children += 1 if is_dirty else -1
            node = node.parent

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
            self._check_order(node)

    def _check_order(self, node: PrefixNode) -> None:
        parent = node.parent
        if parent is not None and node.references > parent.references:
            raise BrokenInvariant(f"{node} is in use without its parent")
        if parent is not None and node.is_on_device and not parent.is_on_device:
            raise BrokenInvariant(f"{node} is on the device without its parent")
        dirty = [child for child in node.children.values() if child.is_counted_dirty]
        must_agree(f"dirty children of {node}", node.num_dirty_children, len(dirty))
        is_dirty = node.is_on_device and not node.is_clean
        must_agree(f"{node} is dirty", node.is_counted_dirty, is_dirty)

    def _lease_page(self) -> Lease:
        """One of those that are free: each is sealed by itself."""
        lease = self.room.pool.reserve(1, PageOwner.KV)
        assert lease is not None
        return lease

    def _seal_next(self, table: BlockTable, tokens: tuple[int, ...]) -> None:
        parent = table.nodes[-1] if table.nodes else None
        lease = table.private.pop(0)
        node = self._index.find(table.namespace, parent, tokens)
        if node is None:
            node = self._index.insert(table.namespace, parent, tokens, lease)
            node.is_worthless = not self._is_written_back
            node.references = 1  # of this table, so it is never idle on the way
            self.note(node)
        elif node.is_on_device:
            self.room.give_back(lease)
            self.room.acquire(node)
            table.num_borrowed += 1
            self._num_own_pages -= 1
            place = len(table.nodes)
            table.pages = (*table.pages[:place], node.page, *table.pages[place + 1 :])
        else:
            self._bring_by_computing(node, lease)
        table.nodes.append(node)

    def _bring_by_computing(self, node: PrefixNode, lease: Lease) -> None:
        """A sequence has computed anew what is on the host."""
        if node.state is Residency.LOADING:
            self._mover.give_up(self._mover.copies.of(node))
        node.lease = lease
        node.references = 1
        move(node, Residency.DUAL)
        assert node.host is not None
        self._mover.host.reconsider(node.host)
        self.note(node)

    def _is_sooner(self, nodes: Sequence[PrefixNode], is_idle: bool) -> bool:
        num_queued = self._mover.copies.num_pages_in(Direction.TO_DEVICE) if is_idle else 0
        num_pages = sum(node.state is Residency.HOST for node in nodes)
        num_tokens = len(nodes) * self.page_tokens
        return self._costs.restores(num_queued + num_pages, num_tokens)

    def _keep(self, chain: Chain, rank: Rank) -> None:
        for node in chain:
            if node.references == 0 and (node.wanted is None or node.wanted > rank):
                self.room.want(node, rank)

    def _leave_behind(self, node: PrefixNode) -> None:
        """One of its owners does not own it any more."""
        if node.nearest_owner() is None and self._knows_owners:
            node.is_left = node.is_worthless = True
            self.note(node)
        self._reconsider(node)

    def _reconsider(self, node: PrefixNode) -> None:
        self.room.reconsider(node)
        if node.host is not None:
            self._mover.host.reconsider(node.host)

    def _drop(self, node: PrefixNode) -> None:
        """Out of both tiers, with all that builds on it. Nobody may use it."""
        if node.is_on_device:
            node.is_worthless = True
            if node.host is not None and node.host.references == 0:
                self._mover.host.evict(node.host)
            self.room.evict(node)
        elif node.state is not Residency.ABSENT:
            if node.state is Residency.LOADING:
                self._mover.give_up(self._mover.copies.of(node))
            assert node.host is not None
            self._mover.host.evict(node.host)

    def _references_held(self, nodes: list[PrefixNode]) -> dict[PrefixNode, int]:
        held = dict.fromkeys(nodes, 0)
        for table in self._tables:
            for node in table.nodes:
                held[node] = held.get(node, 0) + 1
        return held


def _is_elsewhere(node: PrefixNode) -> bool:
    return not node.is_on_device
