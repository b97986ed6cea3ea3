"""The door to memory: KV pages and adapters, in the tiers that they move between."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from msgspec import Struct

from motet.memory.adapter_cache import AdapterCache, AdapterState, Failure
from motet.memory.agent import AgentCall, Moved, Outcome, Target, Verb
from motet.memory.agents import Agent, Agents
from motet.memory.agreement import must_agree
from motet.memory.block_table import BlockTable
from motet.memory.clocks import RealTime
from motet.memory.copies import Copies, UnderWay
from motet.memory.copy import CopyEnded, Direction, ReadEnded, Transfers
from motet.memory.costs import Costs
from motet.memory.eviction import DoublesLast, EvictionPolicy
from motet.memory.kv_cache import KvCache
from motet.memory.mover import Mover
from motet.memory.page import Lease, PageOwner, PagePool
from motet.memory.prefetch import Prefetcher
from motet.memory.prefix import Chain, Namespace, PrefixNode, num_idle
from motet.memory.registry import AdapterRegistry
from motet.memory.residency import ON_DEVICE, ON_HOST, Rank, Residency, StateObject
from motet.memory.room import Answer, Room
from motet.memory.write_back import WriteBack

MAX_COUNTED_PAGES = 4096


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
    agents: int = 0
    """That are known."""
    evictions: dict[str, int] = {}
    """Pages by tier, owner and what was known of their next use, with a slash between."""
    prefetches: dict[str, int] = {}
    """Copies begun ahead, by who said that they would be needed."""
    prefetches_useful: int = 0
    """Calls for which something was brought ahead: all was there, a part of it was on its way, or
    it was gone again or not what was asked for."""
    prefetches_late: int = 0
    prefetches_wasted: int = 0
    prefetched_pages: int = 0
    inversions: int = 0
    """Agents who lost something to one who called only after them."""
    forecasts: dict[str, int] = {}
    """Of agents who have called, by source and unit, with a slash between."""
    forecast_errors: dict[str, float] = {}
    """Sums of their errors, in this unit."""


class MemoryConfig(Struct, frozen=True, kw_only=True):
    """Sizes of the tiers, and what moving between them takes."""

    num_pages: int
    """On the device."""
    page_tokens: int
    base_model: str
    """Its id, for names of KV."""
    num_host_pages: int
    num_adapter_pages: int | None = None
    """Set apart for adapters on the device, which then cannot have more and leave the rest to KV;
    None: one pool for both."""
    costs: Costs = Costs()
    prefetches: bool = True
    """Bring what agents will need before they call."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What has come of a read."""

    read: AdapterState
    """The adapter that was read."""
    known: AdapterState
    """What it has turned out to be: itself, or one of equal content."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What requests have to hear of the end of a copy or read."""

    failures: tuple[Failure, ...] = ()
    arrival: Arrival | None = None


NOTHING = Changes()


class MemoryManager:
    """Two tiers of memory, the disk, and the links between them. Decides nothing about requests.

    `kv` and `adapters` are two caches side by side; they share `room`, and thus one order in which
    idle state makes place for what is needed. Only where the pool is split each has its own.
    """

    def __init__(self, config: MemoryConfig, eviction: Callable[[], EvictionPolicy]) -> None:
        num_adapter_pages = config.num_adapter_pages or 0
        num_kv_pages = config.num_pages - num_adapter_pages
        host_order = DoublesLast(eviction)
        self.num_pages = config.num_pages
        self.host = Room(PagePool(config.num_host_pages), host_order)
        self.room = Room(PagePool(num_kv_pages), eviction())
        """That of KV."""
        is_split = config.num_adapter_pages is not None
        adapter_room = Room(PagePool(num_adapter_pages, num_kv_pages), eviction())
        self.rooms = (self.room, adapter_room) if is_split else (self.room,)
        self.copies = Copies()
        self._mover = Mover(self.host, self.copies)
        self._write_back = WriteBack(self.room, self._mover, host_order, config.costs)
        self.kv = KvCache(
            self.room,
            self._mover,
            self._write_back,
            config.page_tokens,
            config.costs,
            knows_owners=host_order.knows_owners,
        )
        self.adapters = AdapterCache(
            self.rooms[-1], self._mover, self._write_back, self.kv, config.costs
        )
        self.time = RealTime()
        self.agents = Agents(self.time, self.kv, self.adapters)
        self._prefetches = config.prefetches
        self.prefetcher = Prefetcher(self.agents, self.kv, self.adapters, self._mover, config.costs)
        self.registry = AdapterRegistry(self.adapters)
        self._page_copy_s = config.costs.page_copy_s
        self.token_s = config.costs.token_s
        """What a token of a prompt takes."""
        self._base_model = config.base_model
        self._num_pages_moved = {Direction.TO_DEVICE: 0, Direction.TO_HOST: 0}
        self._num_pages_restored = self._num_pages_read = 0
        self._load_s = 0.0
        self._num_hits = dict.fromkeys(Residency, 0)

    @property
    def version(self) -> int:
        """While it stays the same, what did not fit does not fit and what was not ready is not."""
        return self.host.version + sum(room.version for room in self.rooms)

    def namespace(self, adapter: AdapterState | None, cache_salt: str) -> Namespace:
        """Where KV is found. What the adapter is must be known."""
        if adapter is not None:
            assert adapter.digest is not None
        return Namespace(self._base_model, adapter.digest if adapter else None, cache_salt)

    def arrived(
        self, adapter: AdapterState | None, name: str | None, call: AgentCall | None
    ) -> Agent | None:
        """A request has come for an adapter of this name: where is it, and who asks?"""
        if adapter is not None:
            self._num_hits[adapter.state] += 1
            adapter.hits += adapter.is_on_device
        if call is None:
            return None
        known = self.agents.find(call.key)
        if known is not None:
            self.prefetcher.called(known)
        return self.agents.call(call, adapter, name)

    def pages_beside(self, rank: Rank, prefix: Chain, adapter: AdapterState | None) -> int:
        """Pages that sequences may compute themselves once `rank` runs, beside all else in use.

        It uses its prefix, which is on the device, and its adapter as well: both may be idle now.
        """
        room = self.room
        num_others = room.num_busy_pages - self.kv.num_own_pages
        num_others += room.num_kept_pages(rank) + num_idle(prefix)
        if adapter and self.adapters.room is room and adapter.is_idle:
            is_counted = adapter.wanted is not None and adapter.wanted < rank
            num_others += 0 if is_counted else adapter.size
        return room.pool.num_pages - num_others

    def write_back_for(self, table: BlockTable, num_tokens: int) -> bool:
        """Begin to write back, or give up, what is in the way of a table that cannot grow.

        True if it can grow then, once that has ended.
        """
        num_missing = self.room.num_missing(self._num_to_grow(table, num_tokens), table.rank)
        if num_missing > self.room.num_dirty_pages:
            return False
        self._write_back.hurry(self.room, num_missing)
        return True

    def hurry(self, table: BlockTable, num_tokens: int) -> bool:
        """Take back what is on its way to others, as far as the table cannot grow without it.

        False, and nothing changed, if it cannot grow even then.
        """
        num_pages = self._num_to_grow(table, num_tokens)
        if self.room.answer(num_pages, table.rank) is Answer.NO:
            return False
        num_missing = self.room.num_missing(num_pages, table.rank)
        self._write_back.hurry(self.room, num_missing)
        num_missing = self.room.num_missing(num_pages, table.rank)
        self._mover.hurry(self.room, num_missing - self.room.num_dirty_pages, table.rank)
        return True

    def use_links(self, num_reserved: int | None) -> None:
        """Once a step: write back and prefetch; leave so many pages to those who run. None: all of
        them, since somebody waits for some."""
        self.agents.expire()
        self._write_back.go_on()
        if self._prefetches:
            self.prefetcher.go_on(self.time.now, num_reserved)

    def pages_coming(self, agents: Iterable[Agent]) -> int:
        """Pages of these that will be brought to the device, as far as there is room.

        At most MAX_COUNTED_PAGES, which stand for so many or more: a push may be of a thousand
        agents with a hundred pages each, and no step waits until they are counted.
        """
        num_pages = 0
        for agent in agents if self._prefetches else ():
            if agent.is_expected:
                num_pages += self.pages_missing(agent, Target.ALL)
            if num_pages >= MAX_COUNTED_PAGES:
                return MAX_COUNTED_PAGES
        return num_pages

    def pages_missing(self, agent: Agent, target: Target) -> int:
        """Pages of what it owns that are not on the device."""
        num_pages = 0
        if target is not Target.KV and agent.adapter and not agent.adapter.is_on_device:
            num_pages += agent.adapter.size
        if target is not Target.ADAPTER and agent.frontier:
            num_pages += len(self.kv.elsewhere(agent.frontier))
        return num_pages

    def move_agent(self, agent: Agent, verb: Verb, target: Target, ttl_s: float | None) -> Moved:
        """Where an agent's state goes follows from when it is expected: so that is what changes."""
        self.agents.wish(agent, verb, ttl_s)
        num_missing = self.pages_missing(agent, target)
        if verb is not Verb.PREFETCH:
            return Moved(Outcome.ACCEPTED, self.pages_owned(agent, target) - num_missing)
        if num_missing and not self._prefetches:
            return Moved(Outcome.REJECTED, num_missing)
        is_too_large = num_missing > self.room.pool.num_pages
        outcome = Outcome.CLIPPED if is_too_large else Outcome.ACCEPTED
        queued = self.copies.num_pages_in(Direction.TO_DEVICE) + self.copies.num_pages_ahead
        return Moved(outcome, num_missing, (queued + num_missing) * self._page_copy_s)

    def pages_owned(self, agent: Agent, target: Target) -> int:
        """Pages of what it owns, wherever they are."""
        num_kv = sum(1 for _ in agent.frontier.path()) if agent.frontier else 0
        num_adapter = agent.adapter.size if agent.adapter else 0
        return num_kv * (target is not Target.ADAPTER) + num_adapter * (target is not Target.KV)

    def forget_agent(self, agent: Agent) -> int:
        """It will not call again: how many pages that gives up."""
        frontier = agent.frontier
        self.agents.forget(agent)
        return self.kv.forget_left(frontier) if frontier else 0

    def tell_time(self, now: float) -> None:
        """So late is it, and nothing else has happened."""
        self.copies.now = self.time.now = now

    @property
    def is_busy(self) -> bool:
        """Is anything on its way?"""
        return len(self.copies) > 0

    @property
    def next_due_s(self) -> float | None:
        """When to `tick` at the latest."""
        return self.copies.next_due_s

    def ended(self, event: CopyEnded | ReadEnded) -> Changes:
        """A copy or read has ended; perhaps one that is not waited for, or has ended before."""
        if isinstance(event, ReadEnded):
            return self._read_ended(event)
        ended = self._mover.end_copy(event)
        if ended is None:
            return NOTHING
        assert ended.line is not None
        self._num_pages_moved[ended.line] += event.num_pages
        if ended.line is Direction.TO_HOST:
            _give_up_what_stayed(ended)
            return NOTHING
        self._load_s += self.copies.now - ended.begun_s
        if isinstance(ended.subjects[0], AdapterState):
            return self._failed(self.adapters.end_load(ended, event))
        self._num_pages_restored += event.num_pages
        self.kv.end_restore(ended)
        return NOTHING

    def tick(self, now: float) -> Changes:
        """So late is it."""
        self.tell_time(now)
        self.agents.pass_time()
        failures: list[Failure] = []
        for each in self.copies.overdue():
            if each.is_given_up:
                self.copies.ask(each)
                continue
            self.copies.counters.lost += 1
            if isinstance(each.subjects[0], AdapterState):
                failures += self.adapters.lose(each)
                continue
            self._mover.give_up(each)
            if each.line is Direction.TO_HOST:
                _give_up_what_stayed(each)
            else:
                self.kv.end_restore(each)
        return self._failed(failures)

    def transfers(self) -> Transfers:
        """What the executor has to hear, since the last call."""
        for digest in self.adapters.take_gone():  # what was computed on them is of no use
            self.kv.forget_adapter(digest)
        orders = self.copies.take()
        return Transfers(
            released=tuple(page for room in self.rooms for page in room.pool.take_released()),
            released_on_host=self.host.pool.take_released(),
            forgotten=self.adapters.take_forgotten(),
            copies=orders.copies,
            reads=orders.reads,
            hurried=orders.hurried,
            cancelled=orders.cancelled,
        )

    def counts(self) -> MemoryCounts:
        host, begun = self.host.pool, self.copies.counters.begun
        moved, hits, prefetch = self._num_pages_moved, self._num_hits, self.prefetcher.counters
        return MemoryCounts(
            pages_free=sum(room.pool.num_free for room in self.rooms),
            pages_kv=self._count(PageOwner.KV),
            pages_adapter=self._count(PageOwner.ADAPTER),
            pages_transfer=self._count(PageOwner.TRANSFER),
            pages_quarantined=self._count(PageOwner.QUARANTINED),
            idle_pages_kv=self.room.idle_pages(PageOwner.KV),
            idle_pages_adapter=self.adapters.room.idle_pages(PageOwner.ADAPTER),
            kv_page_evictions=self.room.num_evicted(PageOwner.KV),
            adapter_page_evictions=self.adapters.room.num_evicted(PageOwner.ADAPTER),
            adapter_loads=begun[Direction.TO_DEVICE] - self.kv.num_restores,
            host_pages=host.num_pages,
            host_pages_free=host.num_free,
            host_pages_kv=host.count(PageOwner.KV),
            host_pages_adapter=host.count(PageOwner.ADAPTER),
            host_pages_transfer=host.count(PageOwner.TRANSFER),
            host_pages_quarantined=host.count(PageOwner.QUARANTINED),
            host_kv_page_evictions=self.host.num_evicted(PageOwner.KV),
            host_adapter_page_evictions=self.host.num_evicted(PageOwner.ADAPTER),
            adapter_reads=begun[None],
            adapter_hits_device=sum(hits[state] for state in ON_DEVICE),
            adapter_hits_host=hits[Residency.HOST] + hits[Residency.LOADING],
            adapter_hits_disk=hits[Residency.DISK] + hits[Residency.READING],
            loaded_pages=moved[Direction.TO_DEVICE],
            restored_kv_pages=self._num_pages_restored,
            written_back_kv_pages=moved[Direction.TO_HOST],
            read_pages=self._num_pages_read,
            load_s=self._load_s,
            agents=len(self.agents),
            evictions=self._evictions(),
            prefetches=dict(prefetch.issued),
            prefetches_useful=prefetch.useful,
            prefetches_late=prefetch.late,
            prefetches_wasted=prefetch.wasted,
            prefetched_pages=prefetch.pages,
            inversions=prefetch.inversions,
            forecasts=dict(self.agents.errors.num_calls),
            forecast_errors=dict(self.agents.errors.sums),
        )

    def _evictions(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for tier, rooms in (("device", self.rooms), ("host", (self.host,))):
            for room in rooms:
                for (owner, standing), num_pages in room.evictions.items():
                    if num_pages:
                        key = f"{tier}/{owner}/{standing}"
                        counts[key] = counts.get(key, 0) + num_pages
        return counts

    def check(self) -> None:
        """Walk everything; raise BrokenInvariant on the first count or state that is wrong."""
        nodes, adapters = self.kv.states(), self.adapters.states()
        states: list[StateObject] = [*nodes, *adapters]
        given_up = [each for each in self.copies if each.is_given_up]
        for room in self.rooms:
            self._check_room(room, states if len(self.rooms) == 1 else self._in(room, states))
        copies = [state.host for state in states if state.host]
        self.host.check(copies)
        leases = [*self.kv.leases(), *(state.lease for state in states if state.lease)]
        leases += [
            lease for each in given_up if each.room is not self.host for lease in each.leases
        ]
        _check_leases("device", leases, sum(_num_leased(room) for room in self.rooms))
        leases = [copy.lease for copy in copies if copy.lease]
        leases += [lease for each in given_up if each.room is self.host for lease in each.leases]
        _check_leases("host", leases, _num_leased(self.host))
        for state in states:
            has_pages = state.is_on_device or state.state is Residency.LOADING
            must_agree(f"{state} has pages", state.lease is not None, has_pages)
            has_copy = state.state in (*ON_HOST, Residency.WRITEBACK)
            if state.state is not Residency.READING:
                must_agree(f"{state} has a host copy", state.host is not None, has_copy)
        self._check_copies(states)
        self.kv.check()
        self.adapters.check()
        self.registry.check()
        self.agents.check()

    def _failed(self, failures: list[Failure]) -> Changes:
        self._note(failures)
        return Changes(tuple(failures))

    def _note(self, failures: list[Failure]) -> None:
        for failure in failures:
            self.registry.failed(failure)
            self.adapters.call(failure.adapter, None)  # the next request will try again

    def _read_ended(self, event: ReadEnded) -> Changes:
        ended = self._mover.end_read(event)
        if ended is None:
            if event.content is not None and event.content.digest is not None:
                self.adapters.forget(event.content.digest)  # what it has brought nobody waits for
            return NOTHING
        [read] = ended.subjects
        assert isinstance(read, AdapterState)
        self._num_pages_read += sum(len(lease.pages) for lease in ended.leases)
        known, failures = self.adapters.end_read(ended, event)
        self._note(failures)
        if known is not read:
            self.registry.merged(read, known)
            self.agents.merge(read, known)
        elif event.content is not None and not failures:
            self.registry.known(known)
        is_known = event.content is not None and not failures
        return Changes(tuple(failures), Arrival(read, known) if is_known else None)

    def _num_to_grow(self, table: BlockTable, num_tokens: int) -> int:
        return self.kv.pages_for(num_tokens) - len(table.pages)

    def _count(self, owner: PageOwner) -> int:
        return sum(room.pool.count(owner) for room in self.rooms)

    def _in(self, room: Room, states: list[StateObject]) -> list[StateObject]:
        kind = PrefixNode if room is self.room else AdapterState
        return [state for state in states if isinstance(state, kind)]

    def _check_room(self, room: Room, states: list[StateObject]) -> None:
        room.check(states)
        loading = {state for state in states if state.state is Residency.LOADING}
        must_agree("expected objects", set(room.expected), loading)

    def _check_copies(self, states: list[StateObject]) -> None:
        moving = (Residency.READING, Residency.LOADING, Residency.WRITEBACK)
        expected = [state for state in states if state.state in moving]
        awaited = [s for each in self.copies if not each.is_given_up for s in each.subjects]
        must_agree("subjects of copies", set(awaited), set(expected))
        must_agree("copies that are waited for", len(awaited), len(expected))
        reading = {s.host for s in expected if s.state is Residency.READING and s.host}
        must_agree("expected on the host", set(self.host.expected), reading)


def _give_up_what_stayed(ended: UnderWay) -> None:
    """What could not be written back may go."""
    for node in ended.subjects:
        assert isinstance(node, PrefixNode)
        if node.state is Residency.READY:
            node.is_worthless = True
            node.note()


def _num_leased(room: Room) -> int:
    return room.pool.num_pages - room.pool.num_free


def _check_leases(where: str, leases: list[Lease], num_leased: int) -> None:
    must_agree(f"leased pages of the {where}", num_leased, sum(len(x.pages) for x in leases))
    must_agree(f"leases of the {where} held once", len(leases), len(set(leases)))
