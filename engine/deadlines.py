"""Until when requests are worth anything."""

from heapq import heapify, heappop, heappush

from motet.engine.sequence import Sequence, SequenceState

_Entry = tuple[float, int, Sequence]

MIN_ENTRIES = 64
"""So many are never too many, finished or not."""


class Deadlines:
    """The unfinished sequences that have to end in time."""

    def __init__(self) -> None:
        self._due: list[_Entry] = []  # a heap; finished ones go now and then
        self._num_added = 0
        self._enough = MIN_ENTRIES
        """Entries among which it is time to look for finished ones."""

    def add(self, sequence: Sequence) -> None:
        """Nothing happens to a request without a deadline."""
        deadline = sequence.request.deadline_s
        if deadline is not None:
            self._num_added += 1
            if len(self._due) >= self._enough:
                self._forget_finished()
            heappush(self._due, (deadline, self._num_added, sequence))

    def passed(self, now: float) -> list[Sequence]:
        """Those whose time is over, each once."""
        passed = []
        while (next_s := self.next_s()) is not None and next_s <= now:
            passed.append(heappop(self._due)[2])
        return passed

    def next_s(self) -> float | None:
        """When the next one passes; None if none has a deadline."""
        while self._due and _is_finished(self._due[0]):
            heappop(self._due)
        return self._due[0][0] if self._due else None

    def _forget_finished(self) -> None:
        self._due = [entry for entry in self._due if not _is_finished(entry)]
        heapify(self._due)
        self._enough = max(MIN_ENTRIES, 2 * len(self._due))


def _is_finished(entry: _Entry) -> bool:
    return entry[2].state is SequenceState.FINISHED
