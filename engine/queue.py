"""Requests that wait, by the adapter that they want."""

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush

from motet.engine.sequence import Sequence, SequenceState
from motet.memory.adapter_cache import AdapterCache, AdapterState
from motet.memory.lazy_heap import LazyHeap
from motet.memory.residency import Rank

_Entry = tuple[Rank, Sequence]


class _Group:
    """Those that want one adapter, or none. Aborted ones die in the heap."""

    def __init__(self) -> None:
        self.heap: LazyHeap[_Entry] = LazyHeap(_waits)
        self.num_waiting = 0

    def first(self) -> Sequence | None:
        first = self.heap.first()
        return first[1] if first else None


class WaitingQueue:
    """Waiting sequences in order of rank, and what memory knows of their wants.

    Coming and going cost the same however many wait, and a group whose adapter is not there is
    passed over as a whole.
    """

    def __init__(self, cache: AdapterCache) -> None:
        self.version = 0
        """Grows whenever another sequence is the first of its group."""
        self._cache = cache
        self._groups: dict[AdapterState | None, _Group] = {}
        self._len = 0

    def __len__(self) -> int:
        return self._len

    def __iter__(self) -> Iterator[Sequence]:
        """In no particular order."""
        return (sequence for group in self._groups.values() for _, sequence in group.heap)

    def add(self, sequence: Sequence) -> None:
        group = self._groups.setdefault(sequence.adapter, _Group())
        group.heap.push((sequence.rank, sequence))
        group.num_waiting += 1
        self._len += 1
        if group.first() is sequence:
            self._want(sequence.adapter)

    def abort(self, sequence: Sequence) -> None:
        """The sequence waits no longer, as its state says."""
        self._leave(sequence.adapter)

    def first(self, adapter: AdapterState | None) -> Sequence | None:
        """Of those that want one adapter, or none."""
        group = self._groups.get(adapter)
        return group.first() if group else None

    def first_of_all(self) -> Sequence | None:
        firsts = (group.first() for group in self._groups.values())
        return min((s for s in firsts if s), key=lambda s: s.rank, default=None)

    def waiting_for(self, adapter: AdapterState) -> list[Sequence]:
        """All that want one adapter, the first one first."""
        group = self._groups.get(adapter)
        return [sequence for _, sequence in sorted(group.heap)] if group else []

    def move(self, adapter: AdapterState, to: AdapterState) -> None:
        """Those that want one want another: it is the same, and only the other one lives on."""
        moved = self.waiting_for(adapter)
        if moved:
            del self._groups[adapter]
            self._len -= len(moved)
        for sequence in moved:
            sequence.adapter = to
            self.add(sequence)

    @property
    def num_waiting_for_adapters(self) -> int:
        """Sequences whose adapter is not on the device."""
        return sum(
            group.num_waiting
            for adapter, group in self._groups.items()
            if adapter is not None and not adapter.is_on_device
        )

    def candidates(self, adapters: Iterable[AdapterState | None]) -> "Candidates":
        """Those that want one of these adapters, or none (None). Close it before anything else."""
        return Candidates(self, adapters)

    def _leave(self, adapter: AdapterState | None) -> None:
        group = self._groups[adapter]
        group.num_waiting -= 1
        self._len -= 1
        if group.num_waiting == 0:
            del self._groups[adapter]
        self._want(adapter)

    def _want(self, adapter: AdapterState | None) -> None:
        """Tell memory who is the first that waits for an adapter."""
        self.version += 1
        if adapter is not None:
            first = self.first(adapter)
            self._cache.want(adapter, first.rank if first else None)


class Candidates:
    """One waiting sequence after the other, in order of rank."""

    def __init__(self, queue: WaitingQueue, adapters: Iterable[AdapterState | None]) -> None:
        self._queue = queue
        firsts = [(queue.first(adapter), adapter) for adapter in adapters]
        self._heap = [(first.rank, adapter) for first, adapter in firsts if first]
        self._passed: list[_Entry] = []
        heapify(self._heap)

    def first(self) -> Sequence | None:
        return self._queue.first(self._heap[0][1]) if self._heap else None

    def take(self) -> None:
        """The first one leaves the queue: it is about to run."""
        self._queue._leave(self._drop()[1].adapter)

    def pass_over(self) -> None:
        """Others may go before the first one."""
        self._passed.append(self._drop())

    def pass_over_group(self) -> None:
        """Others may go before all that want the same adapter."""
        heappop(self._heap)

    def pass_over_adapters(self) -> None:
        """Those that run on the base model may go before all others."""
        self._heap = [(rank, adapter) for rank, adapter in self._heap if adapter is None]

    def is_first_of_all(self, sequence: Sequence) -> bool:
        """Is nobody in the whole queue before the first candidate?"""
        return not self._passed and self._queue.first_of_all() is sequence

    def close(self) -> None:
        """Who was passed over waits on."""
        for entry in self._passed:
            adapter = entry[1].adapter
            self._queue._groups[adapter].heap.push(entry)
            self._queue._want(adapter)

    def _drop(self) -> _Entry:
        _, adapter = heappop(self._heap)
        entry = self._queue._groups[adapter].heap.pop()
        first = self._queue.first(adapter)
        if first is not None:
            heappush(self._heap, (first.rank, adapter))
        return entry


def _waits(entry: _Entry) -> bool:
    return entry[1].state is SequenceState.WAITING
