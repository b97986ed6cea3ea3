"""Requests that wait, by the adapter that they want."""

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush

from motet.engine.sequence import Sequence, SequenceState
from motet.memory.adapter_cache import AdapterCache
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

    def __init__(self, adapters: AdapterCache) -> None:
        self.version = 0
        """Grows whenever another sequence is the first of its group."""
        self._adapters = adapters
        self._groups: dict[str | None, _Group] = {}
        self._len = 0

    def __len__(self) -> int:
        return self._len

    def __iter__(self) -> Iterator[Sequence]:
        """In no particular order."""
        return (sequence for group in self._groups.values() for _, sequence in group.heap)

    def add(self, sequence: Sequence) -> None:
        group = self._groups.setdefault(sequence.adapter_digest, _Group())
        group.heap.push((sequence.rank, sequence))
        group.num_waiting += 1
        self._len += 1
        if group.first() is sequence:
            self._want(sequence.adapter_digest)

    def abort(self, sequence: Sequence) -> None:
        """The sequence waits no longer, as its state says."""
        self._leave(sequence.adapter_digest)

    def first(self, digest: str | None) -> Sequence | None:
        """Of those that want one adapter, or none."""
        group = self._groups.get(digest)
        return group.first() if group else None

    def first_of_all(self) -> Sequence | None:
        firsts = (group.first() for group in self._groups.values())
        return min((s for s in firsts if s), key=lambda s: s.rank, default=None)

    def waiting_for(self, digest: str) -> list[Sequence]:
        """All that want one adapter, the first one first."""
        group = self._groups.get(digest)
        return [sequence for _, sequence in sorted(group.heap)] if group else []

    def candidates(self, digests: Iterable[str | None]) -> "Candidates":
        """Those that want one of these adapters, or none (None). Close it before anything else."""
        return Candidates(self, digests)

    def _leave(self, digest: str | None) -> None:
        group = self._groups[digest]
        group.num_waiting -= 1
        self._len -= 1
        if group.num_waiting == 0:
            del self._groups[digest]
        self._want(digest)

    def _want(self, digest: str | None) -> None:
        """Tell memory who is the first that waits for an adapter."""
        self.version += 1
        if digest is not None:
            first = self.first(digest)
            self._adapters.want(digest, first.rank if first else None)


class Candidates:
    """One waiting sequence after the other, in order of rank."""

    def __init__(self, queue: WaitingQueue, digests: Iterable[str | None]) -> None:
        self._queue = queue
        firsts = [(queue.first(digest), digest) for digest in digests]
        self._heap = [(first.rank, digest) for first, digest in firsts if first]
        self._passed: list[_Entry] = []
        heapify(self._heap)

    def first(self) -> Sequence | None:
        return self._queue.first(self._heap[0][1]) if self._heap else None

    def take(self) -> None:
        """The first one leaves the queue: it is about to run."""
        self._queue._leave(self._drop()[1].adapter_digest)

    def pass_over(self) -> None:
        """Others may go before the first one."""
        self._passed.append(self._drop())

    def pass_over_group(self) -> None:
        """Others may go before all that want the same adapter."""
        heappop(self._heap)

    def pass_over_adapters(self) -> None:
        """Those that run on the base model may go before all others."""
        self._heap = [(rank, digest) for rank, digest in self._heap if digest is None]

    def is_first_of_all(self, sequence: Sequence) -> bool:
        """Is nobody in the whole queue before the first candidate?"""
        return not self._passed and self._queue.first_of_all() is sequence

    def close(self) -> None:
        """Who was passed over waits on."""
        for entry in self._passed:
            digest = entry[1].adapter_digest
            self._queue._groups[digest].heap.push(entry)
            self._queue._want(digest)

    def _drop(self) -> _Entry:
        _, digest = heappop(self._heap)
        entry = self._queue._groups[digest].heap.pop()
        first = self._queue.first(digest)
        if first is not None:
            heappush(self._heap, (first.rank, digest))
        return entry


def _waits(entry: _Entry) -> bool:
    return entry[1].state is SequenceState.WAITING
