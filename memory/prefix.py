"""Which full pages of KV exist, found by everything that determines their content.

A tree for each namespace; an edge is the exact tokens of one page. Looking up a page compares the
tokens themselves, so a hash collision can never share KV.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import ClassVar, Protocol

from motet.memory.owner import Owner, nearest
from motet.memory.page import Lease, PageId, PageOwner
from motet.memory.residency import HostCopy, Residency, Resident, StateObject, Worth
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
    Residency.READY: frozenset({Residency.WRITEBACK, Residency.ABSENT}),
    Residency.WRITEBACK: frozenset({Residency.DUAL, Residency.READY}),
    Residency.DUAL: frozenset({Residency.HOST, Residency.READY}),
    # To DUAL where another sequence has computed the same tokens meanwhile.
    Residency.HOST: frozenset({Residency.LOADING, Residency.DUAL, Residency.ABSENT}),
    Residency.LOADING: frozenset({Residency.DUAL, Residency.HOST}),
}


class Keeper(Protocol):
    """Who knows what becomes of a page when it leaves a tier."""

    def leave_device(self, node: "PrefixNode") -> Iterator[Resident]:
        """As `Resident.leave`."""

    def leave_host(self, node: "PrefixNode") -> Iterator[HostCopy]: ...

    def note(self, node: "PrefixNode") -> None: ...

    def has_adapter(self, namespace: Namespace) -> bool:
        """Is what its KV was computed with in memory?"""

    copied_class: int
    """What restoring a page takes that is copied; and one that is computed."""
    computed_class: int


class KvOwner(Owner):
    """An owner of KV: of every page as far as its frontier."""

    __slots__ = ("frontier",)

    def __init__(self) -> None:
        super().__init__()
        self.frontier: PrefixNode | None = None


@dataclass(slots=True, eq=False)
class PrefixNode(StateObject):
    """One sealed page: the KV of `tokens` after all the pages above it.

    Invariants: who references a node references its parents too, so nothing below an idle node is
    in use. What is on the device has its parent on the device; what comes to it has its parent
    there, or coming in the same copy.
    """

    legal: ClassVar[Legal[Residency]] = KV_MOVES
    owner: ClassVar[PageOwner] = PageOwner.KV

    keeper: Keeper = field(kw_only=True)
    namespace: Namespace = field(kw_only=True)
    tokens: PageTokens = field(kw_only=True)
    parent: "PrefixNode | None" = field(kw_only=True)
    children: "dict[PageTokens, PrefixNode]" = field(default_factory=dict)
    is_worthless: bool = False
    """Not worth writing back, or it cannot be."""
    num_dirty_children: int = 0
    """On the device, and not clean."""
    is_counted_dirty: bool = False
    """Among those of its parent."""
    ends_of: dict[KvOwner, None] = field(default_factory=dict)
    """Owners whose frontier it is."""
    nearest: Owner | None = None
    """Of those who own it, who was due first when that was last looked at."""
    is_left: bool = False
    """Its owners have gone on from elsewhere."""

    @property
    def page(self) -> PageId:
        assert self.lease is not None
        return self.lease.pages[0]

    @property
    def size(self) -> int:
        return 1

    @property
    def is_clean(self) -> bool:
        """Neither it nor what would go with it has to be written back before it goes."""
        is_saved = self.state is Residency.DUAL or self.is_worthless
        return is_saved and self.num_dirty_children == 0

    @property
    def depth(self) -> int:
        """Pages above it."""
        return sum(1 for _ in self.path()) - 1

    def path(self) -> Iterator["PrefixNode"]:
        """From it up to the first page."""
        node: PrefixNode | None = self
        while node is not None:
            yield node
            node = node.parent

    def nearest_owner(self) -> Owner | None:
        """Of what builds on it, what was last found there counts: that comes up before it does."""
        children = self.children
        if not self.ends_of and len(children) == 1:
            [child] = children.values()
            self.nearest = child.nearest
        elif children or self.ends_of:
            below = [node.nearest for node in self.children.values() if node.nearest is not None]
            self.nearest = nearest([*self.ends_of, *below])
        else:
            self.nearest = None
        return self.nearest

    @property
    def worth(self) -> Worth:
        if not self.keeper.has_adapter(self.namespace):
            return Worth.DEAD
        return Worth.SUPERSEDED if self.is_left and self.nearest is None else Worth.LIVE

    @property
    def is_built_on(self) -> bool:
        return any(child.is_on_device for child in self.children.values())

    @property
    def is_host_copy_built_on(self) -> bool:
        return any(child.host is not None for child in self.children.values())

    @property
    def restore_class(self) -> int:
        is_copied = self.state is Residency.DUAL
        return self.keeper.copied_class if is_copied else self.keeper.computed_class

    @property
    def host_restore_class(self) -> int:
        return self.keeper.computed_class

    def leave(self) -> Iterator[Resident]:
        return self.keeper.leave_device(self)

    def leave_host(self) -> Iterator[HostCopy]:
        return self.keeper.leave_host(self)

    def note(self) -> None:
        self.keeper.note(self)

    def __str__(self) -> str:
        return f"KV of tokens {self.tokens} in {self.namespace}"


Chain = list[PrefixNode]
"""The first pages of a sequence, each the parent of the next."""


class PrefixIndex:
    """All sealed pages, of both tiers. Tells who exists; who may go is the rooms' affair."""

    def __init__(self, page_tokens: int, keeper: Keeper) -> None:
        self._page_tokens = page_tokens
        self._keeper = keeper
        self._roots: dict[Namespace, dict[PageTokens, PrefixNode]] = {}
        self._of_adapter: dict[str | None, dict[Namespace, None]] = {}

    def match(
        self, chain: Chain, namespace: Namespace, tokens: Sequence[int], num_tokens: int
    ) -> None:
        """Make `chain` the longest one of pages within the first `num_tokens` tokens.

        It holds what an earlier match for these tokens has found, at first nothing: only what has
        changed since is looked at, so a long prompt costs little while it waits.
        """
        size = self._page_tokens
        del chain[num_tokens // size :]
        while chain and chain[-1].state is Residency.ABSENT:  # evicted since
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
        if parent is None:
            self._of_adapter.setdefault(namespace.adapter_digest, {})[namespace] = None
        siblings = self._roots.setdefault(namespace, {}) if parent is None else parent.children
        assert tokens not in siblings
        node = PrefixNode(
            lease, keeper=self._keeper, namespace=namespace, tokens=tokens, parent=parent
        )
        move(node, Residency.READY)
        siblings[tokens] = node
        return node

    def remove(self, node: PrefixNode) -> None:
        """Forget a page. Its children must be gone already."""
        assert not node.children
        for owner in list(node.ends_of):
            end_at(owner, node.parent)
        siblings = self._siblings(node.namespace, node.parent)
        del siblings[node.tokens]
        if node.parent is None and not siblings:
            self._forget(node.namespace)
        move(node, Residency.ABSENT)

    def subtree(self, *roots: PrefixNode) -> Iterator[PrefixNode]:
        """The nodes and all that build on them, parents first."""
        stack = list(roots)
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())

    def leased_subtree(self, root: PrefixNode) -> Iterator[PrefixNode]:
        """As `subtree`, of those with pages on the device."""
        stack = [root]
        while stack:
            node = stack.pop()
            yield node
            stack += [child for child in node.children.values() if child.lease is not None]

    def of_adapter(self, digest: str) -> list[PrefixNode]:
        """The first pages of all sequences on one adapter."""
        names = self._of_adapter.get(digest, ())
        return [node for name in names for node in self._roots[name].values()]

    def roots(self) -> list[PrefixNode]:
        """The first pages of all sequences."""
        return [node for root in self._roots.values() for node in root.values()]

    def __iter__(self) -> Iterator[PrefixNode]:
        """Every node, parents first."""
        return self.subtree(*self.roots())

    def _forget(self, namespace: Namespace) -> None:
        """No sequence of it is left."""
        del self._roots[namespace]
        names = self._of_adapter[namespace.adapter_digest]
        del names[namespace]
        if not names:
            del self._of_adapter[namespace.adapter_digest]

    def _siblings(
        self, namespace: Namespace, parent: PrefixNode | None
    ) -> dict[PageTokens, PrefixNode]:
        return self._roots.get(namespace, {}) if parent is None else parent.children


def end_at(owner: KvOwner, node: PrefixNode | None) -> None:
    """It owns everything as far as `node`, and nothing else."""
    if owner.frontier is not None:
        owner.frontier.ends_of.pop(owner, None)
    owner.frontier = node
    if node is not None:
        node.ends_of[owner] = None


def num_on_device(chain: Chain) -> int:
    """Pages of the chain that are on the device: its first ones."""
    return bisect_left(chain, True, key=_is_elsewhere)


def num_leased(chain: Chain) -> int:
    """Pages of the chain that are on the device or on their way there: its first ones."""
    return bisect_left(chain, True, key=_is_without_pages)


def num_idle(chain: Chain) -> int:
    """Of a chain on the device, pages that nobody uses: its last ones, since users of a page use
    all before."""
    return len(chain) - bisect_left(chain, True, key=attrgetter("is_idle"))


def _is_without_pages(node: PrefixNode) -> bool:
    return node.lease is None


def _is_elsewhere(node: PrefixNode) -> bool:
    return not node.is_on_device
