"""Brings idle KV to the host before its pages are needed."""

from itertools import islice

from motet.memory.copy import Direction
from motet.memory.costs import Costs
from motet.memory.eviction import DoublesLast
from motet.memory.mover import Mover
from motet.memory.prefix import PrefixNode
from motet.memory.residency import Residency
from motet.memory.room import Room

COPY_PAGES = 8
"""Pages of one copy: few enough to be clean soon, many enough to keep a link busy."""

MAX_MORE = 32 * COPY_PAGES
"""Pages that are begun in a step beside those that are missing: a longer queue would keep waiting
whoever is short next."""

IDLE_S = 0.005
"""Of the link's time, what is begun in a step in which it has nothing else to do."""

LAST = (float("inf"), 2**62)
"""Rank of what nobody waits for."""


class WriteBack:
    """What is dirty is written back in idle time of the link, the eldest first, and sooner where
    its pages are needed. What the host has no room for is given up: it may then be evicted."""

    def __init__(self, device: Room, mover: Mover, host_order: DoublesLast, costs: Costs) -> None:
        self._device = device
        self._mover = mover
        self._host_order = host_order
        page_s = costs.page_copy_s
        self._num_idle = (
            min(max(COPY_PAGES, int(IDLE_S / page_s)), MAX_MORE) if page_s else COPY_PAGES
        )
        """Pages."""
        self._num_promised = 0
        """Pages that were missing to others in this step."""
        self._num_more = 0
        """Pages that are written back beside those that are missing. Those who run take pages as
        well: as long as some are missing step after step, twice as many more each time."""

    def go_on(self) -> None:
        """Called once a step. Nothing to do while most of the device can be had at once."""
        more = min(max(COPY_PAGES, 2 * self._num_more), MAX_MORE)
        self._num_more = more if self._num_promised else 0
        is_idle = self._num_under_way <= self._num_promised
        self._num_promised = 0
        device = self._device
        num_at_hand = device.pool.num_free + device.num_clean_pages
        if is_idle and 2 * num_at_hand < device.pool.num_pages:
            self._begin(self._next(min(self._num_idle, self._num_host_pages)))

    def hurry(self, device: Room, num_missing: int) -> None:
        """So many pages of `device` are needed now."""
        if device is not self._device or num_missing <= 0:
            return
        num_others = self._num_promised
        self._num_promised += num_missing
        num_missing -= max(0, self._num_under_way - num_others)
        if num_missing <= 0:
            return
        nodes = self._next(num_missing + self._num_more)
        num_writable = self._num_host_pages
        self._begin(nodes[:num_writable])
        for node in nodes[num_writable:num_missing]:
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
        for start in range(0, len(nodes), COPY_PAGES):
            part = nodes[start : start + COPY_PAGES]
            has_room = self._mover.host.make(len(part), LAST)
            assert has_room, "it has been counted"
            self._mover.write_back(part)
