"""Brings idle KV to the host before its pages are needed."""

from itertools import islice

from motet.memory.copy import Direction
from motet.memory.eviction import DoublesLast
from motet.memory.mover import Mover
from motet.memory.prefix import PrefixNode
from motet.memory.residency import Residency
from motet.memory.room import Room

COPY_PAGES = 8
"""Pages of one copy: few enough to be clean soon, many enough to keep a link busy."""

LAST = (float("inf"), 2**62)
"""Rank of what nobody waits for."""


class WriteBack:
    """What is dirty is written back in idle time of the link, the eldest first, and sooner where
    its pages are needed. What the host has no room for is given up: it may then be evicted."""

    def __init__(self, device: Room, mover: Mover, host_order: DoublesLast) -> None:
        self._device = device
        self._mover = mover
        self._host_order = host_order

    def go_on(self) -> None:
        """Called once a step. Nothing to do while most of the device can be had at once."""
        device = self._device
        num_at_hand = device.pool.num_free + device.num_clean_pages
        if 2 * num_at_hand < device.pool.num_pages and not self._num_under_way:
            self._begin(self._next(min(COPY_PAGES, self._num_host_pages)))

    def hurry(self, device: Room, num_missing: int) -> None:
        """So many pages of `device` are needed now."""
        num_missing -= self._num_under_way
        if device is not self._device or num_missing <= 0:
            return
        nodes = self._next(num_missing)
        num_writable = self._num_host_pages
        for start in range(0, min(num_writable, len(nodes)), COPY_PAGES):
            self._begin(nodes[start : min(start + COPY_PAGES, num_writable)])
        for node in nodes[num_writable:]:
            node.is_worthless = True
            node.note()

    @property
    def _num_under_way(self) -> int:
        """Pages."""
        return self._mover.copies.num_pages_in(Direction.TO_HOST)

    @property
    def _num_host_pages(self) -> int:
        """Pages that can be had on the host for what may never be asked for again."""
        return self._mover.host.pool.num_free + self._host_order.num_single_pages

    def _next(self, num_pages: int) -> list[PrefixNode]:
        ready = (
            node
            for node in self._device.dirty()
            if isinstance(node, PrefixNode) and node.state is Residency.READY
        )
        return list(islice((node for node in ready if not node.is_worthless), num_pages))

    def _begin(self, nodes: list[PrefixNode]) -> None:
        if nodes:
            has_room = self._mover.host.make(len(nodes), LAST)
            assert has_room, "it has been counted"
            self._mover.write_back(nodes)
