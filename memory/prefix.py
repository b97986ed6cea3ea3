"""Which full pages of KV exist, found by everything that determines their content.

A tree for each namespace; an edge is the exact tokens of one page. Looking up a page compares the
tokens themselves, so a hash collision can never share KV.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import ClassVar

from motet.memory.page import Lease, PageId
from motet.memory.residency import Residency, StateObject
from motet.memory.transition import Legal, move

PageTokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Namespace:
    """What besides the tokens decides the content of KV. Nothing is shared across namespaces."""

    base_model: str
    adapter_digest: str | None
    cache_salt: str


KV_MOVES: Legal[Residency] = {
    Residency.ABSENT: frozenset({Residency.READY}),
    Residency.READY: frozenset({Residency.ABSENT}),
}


@dataclass(slots=True, eq=False)
class PrefixNode(StateObject):
    """One sealed page: the KV of `tokens` after all the pages above it.

    Invariant: who references a node references its parents too, so nothing below an idle node is
    in use.
    """

    legal: ClassVar[Legal[Residency]] = KV_MOVES

    index: "PrefixIndex" = field(kw_only=True)
    """Where it is found as long as it is on the device."""
    namespace: Namespace = field(kw_only=True)
    tokens: PageTokens = field(kw_only=True)
    parent: "PrefixNode | None" = field(kw_only=True)
    children: "dict[PageTokens, PrefixNode]" = field(default_factory=dict)

    @property
    def page(self) -> PageId:
        assert self.lease is not None
        return self.lease.pages[0]

    def leave_device(self) -> Iterator[StateObject]:
        """With a page goes every page that builds on it, the last ones first."""
        for node in reversed(list(self.index.subtree(self))):
            self.index.remove(node)
            yield node

    def __str__(self) -> str:
        return f"KV of tokens {self.tokens} in {self.namespace}"


Chain = list[PrefixNode]
"""The first pages of a sequence, each the parent of the next."""


class PrefixIndex:
    """All sealed pages. Tells who exists; who may go is the eviction policy's affair."""

    def __init__(self, page_tokens: int) -> None:
        self._page_tokens = page_tokens
        self._roots: dict[Namespace, dict[PageTokens, PrefixNode]] = {}

    def match(
        self, chain: Chain, namespace: Namespace, tokens: Sequence[int], num_tokens: int
    ) -> None:
        """Make `chain` the longest one of pages within the first `num_tokens` tokens.

        It holds what an earlier match for these tokens has found, at first nothing: only what has
        changed since is looked at, so a long prompt costs little while it waits.
        """
        size = self._page_tokens
        del chain[num_tokens // size :]
        while chain and not chain[-1].is_on_device:  # evicted since
            chain.pop()
        children = chain[-1].children if chain else self._roots.get(namespace, {})
        for end in range((len(chain) + 1) * size, num_tokens + 1, size):
            node = children.get(tuple(tokens[end - size : end]))
            if node is None:
                break
            chain.append(node)
            children = node.children

    def find(
        self, namespace: Namespace, parent: PrefixNode | None, tokens: PageTokens
    ) -> PrefixNode | None:
        """The page that follows `parent` (None: the first page) with exactly these tokens."""
        return self._siblings(namespace, parent).get(tokens)

    def insert(
        self, namespace: Namespace, parent: PrefixNode | None, tokens: PageTokens, lease: Lease
    ) -> PrefixNode:
        """Seal a page. It must be full, computed, and not in the index yet."""
        assert len(tokens) == self._page_tokens and len(lease.pages) == 1
        siblings = self._roots.setdefault(namespace, {}) if parent is None else parent.children
        assert tokens not in siblings
        node = PrefixNode(lease, index=self, namespace=namespace, tokens=tokens, parent=parent)
        move(node, Residency.READY)
        siblings[tokens] = node
        return node

    def remove(self, node: PrefixNode) -> None:
        """Forget a page. Its children must be gone already."""
        assert not node.children
        siblings = self._siblings(node.namespace, node.parent)
        del siblings[node.tokens]
        if node.parent is None and not siblings:
            del self._roots[node.namespace]
        move(node, Residency.ABSENT)

    def subtree(self, *roots: PrefixNode) -> Iterator[PrefixNode]:
        """The nodes and all that build on them, parents first."""
        stack = list(roots)
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())

    def __iter__(self) -> Iterator[PrefixNode]:
        """Every node, parents first."""
        return self.subtree(*(node for root in self._roots.values() for node in root.values()))

    def _siblings(
        self, namespace: Namespace, parent: PrefixNode | None
    ) -> dict[PageTokens, PrefixNode]:
        return self._roots.get(namespace, {}) if parent is None else parent.children


def num_idle(chain: Chain) -> int:
    """Pages of the chain that nobody uses: its last ones, since users of a page use all before."""
    return len(chain) - bisect_left(chain, True, key=attrgetter("is_idle"))
