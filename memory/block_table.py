"""One sequence's positions -> pages."""

from dataclasses import dataclass, field

from motet.memory.page import Lease, PageId
from motet.memory.prefix import Namespace, PrefixNode
from motet.memory.residency import Rank


@dataclass(slots=True, eq=False)
class BlockTable:
    """Position p lies in `pages[p // page_tokens]`. Changed by the KvCache alone.

    ```
    pages    [ n0 | n1 | n2 | p3 | p4 ]
    nodes    [ n0   n1   n2 ]             sealed: one reference on each
    private               [ p3   p4 ]     leases of pages that nobody else can see yet
    ```
    """

    namespace: Namespace
    rank: Rank
    """For whom room is made."""
    pages: tuple[PageId, ...] = ()
    """The same object until one of them changes, so that whoever derives something sees at once
    whether it still holds."""
    nodes: list[PrefixNode] = field(default_factory=list)
    private: list[Lease] = field(default_factory=list)
    num_borrowed: int = 0
    """Pages that another sequence computed."""

    @property
    def num_own(self) -> int:
        return len(self.pages) - self.num_borrowed
