"""Until when requests are worth anything."""

from motet.engine.sequence import Sequence, SequenceState
from motet.memory.lazy_heap import LazyHeap


class Deadlines:
    """The unfinished sequences that have to end in time."""

    def __init__(self) -> None:
        self._due: LazyHeap[tuple[float, int, Sequence]] = LazyHeap(_is_unfinished)
        self._num_added = 0

    def add(self, sequence: Sequence) -> None:
        """Nothing happens to a request without a deadline."""
        deadline = sequence.request.deadline_s
        if deadline is not None:
            self._num_added += 1
            self._due.push((deadline, self._num_added, sequence))

    def passed(self, now: float) -> list[Sequence]:
        """Those whose time is over, each once."""
        passed = []
        while (next_s := self.next_s()) is not None and next_s <= now:
            passed.append(self._due.pop()[2])
        return passed

    def next_s(self) -> float | None:
        """When the next one passes; None if none has a deadline."""
        first = self._due.first()
        return first[0] if first else None


def _is_unfinished(entry: tuple[float, int, Sequence]) -> bool:
    return entry[2].state is not SequenceState.FINISHED
