"""Any order of wants, copies, tables and evictions keeps every page and every promise."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from motet.memory.adapter import Adapter
from motet.memory.block_table import BlockTable
from motet.memory.copies import PATIENCE_S
from motet.memory.copy import Copy, CopyEnded
from motet.memory.eviction import LeastRecentlyUsed
from motet.memory.manager import MemoryManager
from motet.memory.prefix import Chain
from motet.memory.residency import Rank, StateObject

DIGESTS = [f"digest-{i}" for i in range(5)]
NUM_PAGES, PAGE_TOKENS = 14, 2


class MemoryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.memory = MemoryManager(NUM_PAGES, PAGE_TOKENS, "base", LeastRecentlyUsed())
        for size, digest in enumerate(DIGESTS, start=2):
            self.memory.adapters.register(Adapter(digest, digest, 1, 8, size))
        self.num_ranks = 0
        self.now = 0.0
        self.used: list[str] = []
        self.tables: list[BlockTable] = []
        self.under_way: list[Copy] = []
        self.ended: list[CopyEnded] = []

    def a_rank(self, order: int) -> Rank:
        self.num_ranks += 1
        return (float(order), self.num_ranks)

    @rule(digest=st.sampled_from(DIGESTS), order=st.integers(0, 3))
    def want(self, digest: str, order: int) -> None:
        self.memory.adapters.want(digest, self.a_rank(order))

    @rule(digest=st.sampled_from(DIGESTS))
    def want_no_more(self, digest: str) -> None:
        self.memory.adapters.want(digest, None)

    @rule(num_reserved=st.integers(0, 6))
    def load(self, num_reserved: int) -> None:
        kept = self.wanted_on_device()
        limit = self.memory.adapters.load_wanted(num_reserved)
        transfers = self.memory.transfers()
        self.under_way += transfers.copies
        ranks = [self.rank_of(copy.digest) for copy in transfers.copies]
        assert ranks == sorted(ranks)
        if limit is not None:
            assert all(rank < limit for rank in ranks)
        gone = [rank for state, rank in kept.items() if not state.is_on_device]
        assert all(rank > max(ranks) for rank in gone)  # nobody was robbed for one behind

    @precondition(lambda self: self.under_way)
    @rule(choice=st.integers(0, 99), outcome=st.sampled_from(["whole", "whole", "part", "error"]))
    def end_copy(self, choice: int, outcome: str) -> None:
        copy = self.under_way.pop(choice % len(self.under_way))
        num_pages = len(copy.pages) if outcome == "whole" else choice % len(copy.pages)
        end = CopyEnded(copy.ticket, num_pages, "broken" if outcome == "error" else None)
        self.ended.append(end)
        failures = self.memory.ended(end)
        assert failures.keys() <= {copy.digest}

    @precondition(lambda self: self.ended)
    @rule(choice=st.integers(0, 99))
    def end_copy_again(self, choice: int) -> None:
        before = self.memory.counts()
        assert self.memory.ended(self.ended[choice % len(self.ended)]) == {}
        assert self.memory.counts() == before

    @rule()
    def lose_patience(self) -> None:
        self.now += PATIENCE_S
        self.memory.tick(self.now)

    @rule(digest=st.sampled_from(DIGESTS))
    def use(self, digest: str) -> None:
        if digest in self.memory.adapters.ready:
            self.memory.adapters.acquire(digest)
            self.used.append(digest)

    @precondition(lambda self: self.used)
    @rule(choice=st.integers(0, 99))
    def use_no_more(self, choice: int) -> None:
        self.memory.adapters.release(self.used.pop(choice % len(self.used)))

    @rule(order=st.integers(0, 3), tokens=st.lists(st.integers(0, 1), min_size=1, max_size=8))
    def compute(self, order: int, tokens: list[int]) -> None:
        kept, rank = self.wanted_on_device(), self.a_rank(order)
        kv, namespace = self.memory.kv, self.memory.namespace(None, "")
        prefix: Chain = []
        kv.match(prefix, namespace, tokens, len(tokens))
        table = kv.open(namespace, prefix, rank)
        self.tables.append(table)
        if kv.grow(table, len(tokens)):
            kv.seal(table, tokens, len(tokens))
        else:
            self.memory.hurry(table, len(tokens))
        gone = [wanted for state, wanted in kept.items() if not state.is_on_device]
        assert all(wanted > rank for wanted in gone)

    @precondition(lambda self: self.tables)
    @rule(choice=st.integers(0, 99))
    def close(self, choice: int) -> None:
        self.memory.kv.close(self.tables.pop(choice % len(self.tables)))

    @rule(choice=st.integers(0, 99))
    def evict(self, choice: int) -> None:
        idle = list(self.memory.room.idle())
        if idle:
            self.memory.room.evict(idle[choice % len(idle)])

    @invariant()
    def all_views_agree(self) -> None:
        self.memory.check()

    def teardown(self) -> None:
        """Whatever happened, everything can be had back."""
        for digest in DIGESTS:
            self.want_no_more(digest)
        self.under_way += self.memory.transfers().copies
        while self.under_way:
            self.end_copy(0, "whole")
        for table in self.tables:
            self.memory.kv.close(table)
        for digest in self.used:
            self.memory.adapters.release(digest)
        assert self.memory.room.make(NUM_PAGES, (0.0, 0))
        self.memory.check()

    def rank_of(self, digest: str) -> Rank:
        state = self.memory.adapters.get(digest)
        assert state is not None and state.wanted is not None
        return state.wanted

    def wanted_on_device(self) -> dict[StateObject, Rank]:
        states = self.memory.adapters.states()
        return {s: s.wanted for s in states if s.wanted is not None and s.is_idle}


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(deadline=None, stateful_step_count=60)
