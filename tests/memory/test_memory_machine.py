"""Any order of wants, moves, tables, names and evictions keeps every page, its content and every
promise."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from motet.memory.adapter import Adapter, AdapterContent
from motet.memory.adapter_cache import AdapterState
from motet.memory.block_table import BlockTable
from motet.memory.copies import PATIENCE_S
from motet.memory.copy import Copy, CopyEnded, Direction, Read, ReadEnded
from motet.memory.costs import Costs
from motet.memory.manager import NOTHING, Changes
from motet.memory.page import PageOwner
from motet.memory.prefix import Chain, Namespace, num_on_device
from motet.memory.registry import Generation
from motet.memory.residency import Rank, Resident
from tests.engine.factories import a_memory
from tests.memory.shadow import Shadow

PATHS = [f"/{number}" for number in range(5)]
CONTENTS = [AdapterContent(8, size, f"digest-{size}") for size in (2, 3, 4, 5, 6)]
TOO_LARGE = AdapterContent(8, 9, "digest-9")
NUM_PAGES, NUM_HOST_PAGES, PAGE_TOKENS = 14, 8, 2

Ended = CopyEnded | ReadEnded

choices = st.integers(0, 99)
orders = st.integers(0, 3)
outcomes = st.sampled_from(["whole", "whole", "part", "error"])
prompts = st.lists(st.integers(0, 1), min_size=1, max_size=10)


@dataclass(slots=True, eq=False)
class Wish:
    """Of one request: it waits for an adapter, or for its prefix, or runs."""

    rank: Rank
    generation: Generation | None
    tokens: list[int]
    has_adapter: bool = False
    prefix: Chain = field(default_factory=list)
    table: BlockTable | None = None


class MemoryMachine(RuleBasedStateMachine):
    num_adapter_pages: int | None = None
    eviction = "lru"

    def __init__(self) -> None:
        super().__init__()
        self.memory = a_memory(
            NUM_PAGES,
            NUM_HOST_PAGES,
            PAGE_TOKENS,
            costs=Costs(),
            num_adapter_pages=self.num_adapter_pages,
            eviction=self.eviction,
        )
        self.shadow = Shadow(dict(zip(PATHS, CONTENTS, strict=True)))
        self.num_ranks = 0
        self.now = 0.0
        self.wishes: list[Wish] = []
        self.under_way: list[Copy | Read] = []
        self.ended: list[Ended] = []
        for path in PATHS:
            self.name(path, path, is_known=True)

    # Names.

    @rule(
        name=st.sampled_from(PATHS),
        path=st.sampled_from(PATHS),
        is_known=st.booleans(),
    )
    def name(self, name: str, path: str, is_known: bool) -> None:
        """Another generation of a name; what its directory has is known, or nothing."""
        content = self.shadow.disk[path]
        if is_known and content.num_pages <= self.num_pages_for_adapters:
            adapter = Adapter(name, content.digest, 0, 8, content.num_pages, path)
        else:
            adapter = Adapter(name, None, 0, 0, 0, path)
        self.memory.registry.add(adapter)

    @rule(name=st.sampled_from(PATHS))
    def unname(self, name: str) -> None:
        generation = self.memory.registry.meant_by(name)
        if generation is not None:
            self.memory.registry.retire(generation)

    @rule(path=st.sampled_from(PATHS), content=st.sampled_from([*CONTENTS, TOO_LARGE]))
    def save(self, path: str, content: AdapterContent) -> None:
        """A trainer does, over what was there."""
        self.shadow.disk[path] = content

    @rule(name=st.sampled_from(PATHS), is_pinned=st.booleans())
    def pin(self, name: str, is_pinned: bool) -> None:
        generation = self.memory.registry.meant_by(name)
        if generation is not None and (generation.state.digest or not is_pinned):
            self.memory.registry.pin(generation, is_pinned)

    # Requests on adapters.

    @rule(name=st.sampled_from(PATHS), order=orders, tokens=prompts)
    def want(self, name: str, order: int, tokens: list[int]) -> None:
        generation = self.memory.registry.meant_by(name)
        if generation is None or generation.state.size > self.num_pages_for_adapters:
            return  # refused
        self.memory.registry.arrived(generation)
        self.wishes.append(Wish(self.a_rank(order), generation, tokens))
        self.tell_wants(generation.state)

    @rule(name=st.sampled_from(PATHS), order=st.sampled_from([None, 0, 1]))
    def call(self, name: str, order: int | None) -> None:
        """A command wants it, or no more."""
        generation = self.memory.registry.meant_by(name)
        if generation is not None and generation.state.size <= self.num_pages_for_adapters:
            rank = None if order is None else (float("inf"), self.a_rank(order)[1])
            self.memory.adapters.call(generation.state, rank)

    @rule(choice=choices)
    def use(self, choice: int) -> None:
        """One whose adapter has come goes on to its prefix."""
        ready = [w for w in self.wishes if not w.has_adapter and _adapter(w) in self.ready]
        if ready:
            wish = ready[choice % len(ready)]
            state = _adapter(wish)
            assert state is not None
            wish.has_adapter = True
            self.memory.adapters.acquire(state)
            self.tell_wants(state)

    @rule(num_reserved=st.integers(0, 6))
    def load(self, num_reserved: int) -> None:
        kept = self.kept_on_device()
        self.take()
        limit = self.memory.adapters.load_wanted(num_reserved)
        begun = self.take()
        states = [self.adapter_of(copy) for copy in begun if _is_load(copy)]
        ranks = [state.wanted for state in states if state.wanted is not None]
        assert len(ranks) == len(states) and ranks == sorted(ranks)
        if limit is not None:
            assert all(rank < limit for rank in ranks)
        for resident, rank in kept.items():
            if resident.lease is None:  # nobody was robbed for one behind
                assert rank > min(ranks)  # what it leaves over may go to others

    # Requests for KV.

    @rule(order=orders, tokens=prompts)
    def come(self, order: int, tokens: list[int]) -> None:
        self.wishes.append(Wish(self.a_rank(order), None, tokens, has_adapter=True))

    @rule(choice=choices)
    def restore(self, choice: int) -> None:
        waiting = [wish for wish in self.wishes if wish.has_adapter and not wish.table]
        if waiting:
            wish = waiting[choice % len(waiting)]
            kept = self.kept_on_device()
            self.match(wish)
            is_worth_it = self.memory.kv.restore(wish.prefix, wish.rank)
            assert not (is_worth_it and num_on_device(wish.prefix) == len(wish.prefix))
            self.nobody_before_was_robbed(kept, wish.rank)

    @rule(choice=choices)
    def compute(self, choice: int) -> None:
        able = [wish for wish in self.wishes if wish.has_adapter]
        if able:
            wish = able[choice % len(able)]
            wish.tokens += [0] * (choice % 2)
            self.compute_for(wish)

    def compute_for(self, wish: Wish) -> None:
        """It has all it wants, or will not wait for it."""
        kv, kept = self.memory.kv, self.kept_on_device()
        if wish.table is None:
            self.match(wish)
            kv.let_go(wish.prefix, wish.rank)
            prefix = wish.prefix[: num_on_device(wish.prefix)]
            wish.table = kv.open(self.namespace_of(wish), prefix, wish.rank)
        if kv.grow(wish.table, len(wish.tokens)):
            self.take()
            self.shadow.compute(wish.table, wish.tokens, PAGE_TOKENS)
            kv.seal(wish.table, wish.tokens, len(wish.tokens))
        elif not self.memory.write_back_for(wish.table, len(wish.tokens)):
            self.memory.hurry(wish.table, len(wish.tokens))
        self.nobody_before_was_robbed(kept, wish.rank)

    @precondition(lambda self: self.wishes)
    @rule(choice=choices, how=st.sampled_from(["close", "forget", "quarantine"]))
    def end(self, choice: int, how: str) -> None:
        self.close(self.wishes.pop(choice % len(self.wishes)), how)

    def close(self, wish: Wish, how: str) -> None:
        table, kv = wish.table, self.memory.kv
        if table is None:
            kv.let_go(wish.prefix, wish.rank)
        else:
            if how == "quarantine":
                kv.quarantine(table)
            kv.close(table)
            if how == "forget":
                kv.forget(table)
        if wish.generation is not None:
            state = wish.generation.state
            if wish.has_adapter:
                self.memory.adapters.release(state)
            self.tell_wants(state)
            self.memory.registry.finished(wish.generation)

    # What moves.

    @rule()
    def let_all_come(self) -> None:
        """Without any fault."""
        self.load(0)
        while self.under_way:
            self.end_move(0, "whole")
            self.load(0)

    @rule(order=orders, tokens=prompts)
    def serve(self, order: int, tokens: list[int]) -> None:
        """From its arrival to its end, with nobody between."""
        self.come(order, tokens)
        wish = self.wishes[-1]
        self.match(wish)
        if self.memory.kv.restore(wish.prefix, wish.rank):
            self.let_all_come()
        for _ in range(2):
            self.compute_for(wish)
            self.let_all_come()
        self.wishes.remove(wish)
        self.close(wish, "close")

    @rule()
    def write_back(self) -> None:
        self.memory.use_links(0)

    @precondition(lambda self: self.under_way)
    @rule(choice=choices, outcome=outcomes)
    def end_move(self, choice: int, outcome: str) -> None:
        work = self.under_way.pop(choice % len(self.under_way))
        num_pages = len(work.pages)
        if outcome != "whole":
            num_pages = choice % num_pages if num_pages else 0
        error = "broken" if outcome == "error" else None
        end = (
            self.shadow.copy(work, num_pages, error)
            if isinstance(work, Copy)
            else self.shadow.read(work, num_pages, error)
        )
        self.ended.append(end)
        self.hear(self.memory.ended(end))

    @precondition(lambda self: self.ended)
    @rule(choice=choices)
    def end_move_again(self, choice: int) -> None:
        before = self.memory.counts()
        assert self.memory.ended(self.ended[choice % len(self.ended)]) == NOTHING
        assert self.memory.counts() == before

    @rule()
    def lose_patience(self) -> None:
        self.now += PATIENCE_S
        self.hear(self.memory.tick(self.now))

    @rule(choice=choices, is_on_host=st.booleans())
    def evict(self, choice: int, is_on_host: bool) -> None:
        room = (
            self.memory.host if is_on_host else self.memory.rooms[choice % len(self.memory.rooms)]
        )
        idle = list(room.idle())
        if idle:
            room.evict(idle[choice % len(idle)])

    @rule(choice=choices)
    def forget_idle(self, choice: int = 0) -> None:
        if choice % 4 == 0:
            self.memory.kv.forget_idle()
            assert all(node.references for node in self.memory.kv.states())

    # What always holds.

    @invariant()
    def all_views_agree(self) -> None:
        self.take()
        self.memory.check()
        self.shadow.check(self.memory)

    @invariant()
    def the_parts_add_up_to_the_total(self) -> None:
        counts = self.memory.counts()
        parts = ("free", *PageOwner)
        assert sum(getattr(counts, f"pages_{part}") for part in parts) == NUM_PAGES
        assert sum(getattr(counts, f"host_pages_{part}") for part in parts) == NUM_HOST_PAGES

    @invariant()
    def what_is_pinned_stays(self) -> None:
        for room in self.memory.rooms:
            for resident in room.idle():
                assert not (isinstance(resident, AdapterState) and resident.num_pins)

    def teardown(self) -> None:
        """Whatever happened, everything can be had back."""
        while self.wishes:
            self.end(0, "close")
        for name in PATHS:
            self.unname(name)
        self.take()
        while self.under_way:
            self.end_move(0, "whole")
            self.take()
        self.forget_idle()
        self.take()
        counts = self.memory.counts()
        assert (counts.pages_free, counts.host_pages_free) == (NUM_PAGES, NUM_HOST_PAGES)
        assert not self.memory.adapters.states() and not len(self.memory.registry)
        self.memory.check()

    # What the rules are made of.

    @property
    def num_pages_for_adapters(self) -> int:
        return min(NUM_HOST_PAGES, self.memory.adapters.room.pool.num_pages)

    @property
    def ready(self) -> set[AdapterState]:
        return set(self.memory.adapters.ready)

    def a_rank(self, order: int) -> Rank:
        self.num_ranks += 1
        return (float(order), self.num_ranks)

    def tell_wants(self, state: AdapterState) -> None:
        waiting = [w.rank for w in self.wishes if not w.has_adapter and _adapter(w) is state]
        self.memory.adapters.want(state, min(waiting, default=None))

    def match(self, wish: Wish) -> None:
        namespace = self.namespace_of(wish)
        self.memory.kv.match(wish.prefix, namespace, wish.tokens, len(wish.tokens))

    def namespace_of(self, wish: Wish) -> Namespace:
        return self.memory.namespace(_adapter(wish), "")

    def take(self) -> list[Copy | Read]:
        """What is to be done since the last time: begun and released."""
        transfers = self.memory.transfers()
        self.shadow.release(transfers)
        begun: list[Copy | Read] = [*transfers.copies, *transfers.reads]
        self.under_way += begun
        return begun

    def hear(self, changes: Changes) -> None:
        for failure in changes.failures:
            for wish in [w for w in self.wishes if _adapter(w) is failure.adapter]:
                if not wish.has_adapter:
                    self.wishes.remove(wish)
                    self.close(wish, "close")
        if changes.arrival is not None:
            self.tell_wants(changes.arrival.known)

    def adapter_of(self, copy: Copy | Read) -> AdapterState:
        under_way = next(each for each in self.memory.copies if each.work is copy)
        [state] = under_way.subjects
        assert isinstance(state, AdapterState)
        return state

    def kept_on_device(self) -> dict[Resident, Rank]:
        idle = (resident for room in self.memory.rooms for resident in room.idle())
        return {resident: resident.wanted for resident in idle if resident.wanted is not None}

    def nobody_before_was_robbed(self, kept: dict[Resident, Rank], rank: Rank) -> None:
        gone = [wanted for resident, wanted in kept.items() if resident.lease is None]
        assert all(wanted > rank for wanted in gone)


def _adapter(wish: Wish) -> AdapterState | None:
    return wish.generation.state if wish.generation else None


def _is_load(work: Copy | Read) -> bool:
    return isinstance(work, Copy) and work.direction is Direction.TO_DEVICE


class SplitMemoryMachine(MemoryMachine):
    """With a pool of their own for adapters."""

    num_adapter_pages = 7


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(deadline=None, stateful_step_count=60)
TestSplitMemoryMachine = SplitMemoryMachine.TestCase
TestSplitMemoryMachine.settings = settings(deadline=None, stateful_step_count=60)
