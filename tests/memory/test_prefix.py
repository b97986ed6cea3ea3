"""A page is found by everything that determines its content, and by nothing less."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from motet.memory.block_table import BlockTable
from motet.memory.eviction import EVICTION
from motet.memory.page import Lease, PageId, PageOwner
from motet.memory.prefix import Chain, Namespace, PrefixIndex, PrefixNode, num_idle
from tests.engine.factories import a_memory

BASE = Namespace("model", None, "")
RANK = (0.0, 1)


def a_lease(page: int) -> Lease:
    return Lease((PageId(page),), PageOwner.KV)


def an_index(*chains: tuple[Namespace, list[int]]) -> PrefixIndex:
    """An index of pages of two tokens that holds these chains."""
    index, pages = PrefixIndex(2, a_memory(1).kv), iter(range(1000))
    for namespace, tokens in chains:
        parent: PrefixNode | None = None
        for start in range(0, len(tokens), 2):
            page = (tokens[start], tokens[start + 1])
            parent = index.find(namespace, parent, page) or index.insert(
                namespace, parent, page, a_lease(next(pages))
            )
    return index


def match(index: PrefixIndex, namespace: Namespace, tokens: list[int], num_tokens: int) -> Chain:
    chain: Chain = []
    index.match(chain, namespace, tokens, num_tokens)
    return chain


def test_the_longest_chain_of_full_pages_is_matched() -> None:
    index = an_index((BASE, [1, 2, 3, 4]))
    assert [n.tokens for n in match(index, BASE, [1, 2, 3, 4, 5], 5)] == [(1, 2), (3, 4)]
    assert [n.tokens for n in match(index, BASE, [1, 2, 3, 4, 5], 3)] == [(1, 2)]
    assert [n.tokens for n in match(index, BASE, [1, 2, 9, 4], 4)] == [(1, 2)]


def test_a_page_is_not_matched_behind_other_pages() -> None:
    index = an_index((BASE, [1, 2, 3, 4]))
    assert match(index, BASE, [3, 4], 2) == []


def test_a_remembered_match_follows_what_comes_and_goes() -> None:
    index = an_index((BASE, [1, 2, 3, 4]))
    tokens, chain = [1, 2, 3, 4, 5, 6, 7], match(index, BASE, [1, 2], 2)
    index.match(chain, BASE, tokens, 7)
    assert [n.tokens for n in chain] == [(1, 2), (3, 4)]
    last = index.insert(BASE, chain[-1], (5, 6), a_lease(9))
    index.match(chain, BASE, tokens, 7)
    assert [n.tokens for n in chain] == [(1, 2), (3, 4), (5, 6)]
    index.remove(last)
    index.remove(chain[1])
    index.match(chain, BASE, tokens, 7)
    assert [n.tokens for n in chain] == [(1, 2)]
    index.match(chain, BASE, tokens, 1)
    assert chain == []


def test_the_idle_pages_of_a_chain_are_its_last_ones() -> None:
    tokens = [1, 2, 3, 4, 5, 6]
    chain = match(an_index((BASE, tokens)), BASE, tokens, 6)
    for node, references in zip(chain, (2, 1, 0), strict=True):
        node.references = references
    assert [num_idle(chain[:length]) for length in range(4)] == [0, 0, 0, 1]


def test_nothing_is_shared_across_model_adapter_or_tenant() -> None:
    index = an_index((BASE, [1, 2]))
    for other in (
        Namespace("model-b", None, ""),
        Namespace("model", "digest", ""),
        Namespace("model", None, "tenant"),
    ):
        assert match(index, other, [1, 2], 2) == []


def test_tokens_with_equal_hashes_are_told_apart() -> None:
    assert hash((-1, 0)) == hash((-2, 0))
    index = an_index((BASE, [-1, 0]))
    assert match(index, BASE, [-2, 0], 2) == []


def test_a_namespace_without_pages_leaves_nothing_behind() -> None:
    index = an_index((BASE, [1, 2]))
    index.remove(next(iter(index)))
    assert not index._roots


def test_the_pages_of_a_table_are_one_object_until_one_of_them_changes() -> None:
    kv = a_memory(4, page_tokens=2).kv
    first, second = (kv.open(BASE, [], RANK) for _ in range(2))
    kv.grow(first, 1)
    kv.grow(second, 2)
    pages, others = first.pages, second.pages

    kv.grow(first, 2)
    kv.seal(first, [5, 6], 2)
    assert first.pages is pages

    kv.grow(first, 3)
    assert first.pages[:1] == pages and len(first.pages) == 2
    kv.seal(second, [5, 6], 2)
    assert second.pages == pages != others


class TableMachine(RuleBasedStateMachine):
    """Tables that open, grow, seal and close in any order share pages without losing any."""

    tables: Bundle[BlockTable] = Bundle("tables")
    eviction = "lru"

    def __init__(self) -> None:
        super().__init__()
        self.memory = a_memory(12, page_tokens=2, eviction=self.eviction)
        self.room, self.kv = self.memory.room, self.memory.kv
        self.tokens: dict[BlockTable, list[int]] = {}

    @rule(target=tables, tokens=st.lists(st.integers(0, 1), max_size=12))
    def open(self, tokens: list[int]) -> BlockTable:
        prefix: Chain = []
        self.kv.match(prefix, BASE, tokens, len(tokens))
        table = self.kv.open(BASE, prefix, RANK)
        for start, node in zip(range(0, len(tokens), 2), prefix, strict=False):
            assert node.tokens == tuple(tokens[start : start + 2])
        self.tokens[table] = tokens
        return table

    @rule(table=tables, num_tokens=st.integers(1, 12))
    def compute(self, table: BlockTable, num_tokens: int) -> None:
        tokens = self.tokens.get(table, [])[:num_tokens]
        if tokens and self.kv.grow(table, len(tokens)):
            self.kv.seal(table, tokens, len(tokens))

    @rule(table=tables)
    def close(self, table: BlockTable) -> None:
        if self.tokens.pop(table, None) is not None:
            self.kv.close(table)

    @rule(choice=st.integers(0, 100))
    def evict(self, choice: int) -> None:
        idle = list(self.room.idle())
        if idle:
            self.room.evict(idle[choice % len(idle)])

    @invariant()
    def all_views_agree(self) -> None:
        self.memory.check()


@pytest.mark.parametrize("name", EVICTION)
def test_no_order_of_use_loses_a_page(name: str) -> None:
    class Machine(TableMachine):
        eviction = name

    run_state_machine_as_test(Machine)


class LruMachine(TableMachine):
    @invariant()
    def a_chain_is_evicted_from_its_end(self) -> None:
        order = {state: rank for rank, state in enumerate(self.room.idle())}
        for node in order:
            assert isinstance(node, PrefixNode)
            assert all(order[child] < order[node] for child in node.children.values())


TestLruMachine = LruMachine.TestCase
