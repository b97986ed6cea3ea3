"""What every page holds, kept beside memory: a copy from or to the wrong page shows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from motet.memory.adapter import AdapterContent
from motet.memory.adapter_cache import AdapterState
from motet.memory.block_table import BlockTable
from motet.memory.copy import Copy, CopyEnded, Direction, Read, ReadEnded, Transfers
from motet.memory.manager import MemoryManager
from motet.memory.page import PageId
from motet.memory.prefix import PrefixNode
from motet.memory.residency import ON_HOST, StateObject

Content = tuple[object, ...]


@dataclass(slots=True)
class Shadow:
    """The pages of two tiers, and a disk. A page that was freed holds nothing."""

    disk: dict[str, AdapterContent]
    device: dict[PageId, Content] = field(default_factory=dict)
    host: dict[PageId, Content] = field(default_factory=dict)

    def release(self, transfers: Transfers) -> None:
        for page in transfers.released:
            self.device.pop(page, None)
        for page in transfers.released_on_host:
            self.host.pop(page, None)

    def compute(self, table: BlockTable, tokens: Sequence[int], page_tokens: int) -> None:
        """The pages that a table has for itself, as far as they are full."""
        for index in range(len(table.nodes), len(tokens) // page_tokens):
            through = tuple(tokens[: (index + 1) * page_tokens])
            self.device[table.pages[index]] = (table.namespace, *through)

    def copy(self, copy: Copy, num_pages: int, error: str | None) -> CopyEnded:
        for pair in copy.pages[:num_pages]:
            if copy.direction is Direction.TO_DEVICE:
                self.device[pair.device] = self.host.get(pair.host, ())
            else:
                self.host[pair.host] = self.device.get(pair.device, ())
        return CopyEnded(copy.ticket, num_pages, error)

    def read(self, read: Read, num_pages: int, error: str | None) -> ReadEnded:
        content = self.disk[read.path]
        if error is not None:
            return ReadEnded(read.ticket, None, error)
        if not read.pages:
            return ReadEnded(read.ticket, replace(content, digest=None))
        is_other = content.num_pages != len(read.pages)
        if is_other or read.digest not in (None, content.digest):
            return ReadEnded(read.ticket, None, "it has changed", "AdapterChanged")
        for index, page in enumerate(read.pages[:num_pages]):
            self.host[page] = (content.digest, index)
        is_whole = num_pages == len(read.pages)
        return ReadEnded(read.ticket, content if is_whole else None)

    def check(self, memory: MemoryManager) -> None:
        """Everything that is complete holds what it has to."""
        for state in (*memory.kv.states(), *memory.adapters.states()):
            expected = list(_content(state))
            if state.is_on_device:
                assert state.lease is not None
                assert [self.device.get(page) for page in state.lease.pages] == expected, state
            if state.state in ON_HOST:
                assert state.host is not None and state.host.lease is not None
                assert [self.host.get(page) for page in state.host.lease.pages] == expected, state


def _content(state: StateObject) -> Iterable[Content]:
    if isinstance(state, PrefixNode):
        yield (state.namespace, *_tokens_through(state))
    elif isinstance(state, AdapterState):
        yield from ((state.digest, index) for index in range(state.size))


def _tokens_through(node: PrefixNode) -> tuple[int, ...]:
    before = _tokens_through(node.parent) if node.parent else ()
    return before + node.tokens
