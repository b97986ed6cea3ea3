"""Until when requests are worth anything."""

from heapq import heappop, heappush

from motet.engine.sequence import Sequence, SequenceState


class Deadlines:
    """The unfinished sequences that have to end in time."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Sequence]] = []  # a heap; finished ones go with time
        self._num_added = 0

    def add(self, sequence: Sequence) -> None:
        """Nothing happens to a request without a deadline."""
        deadline = sequence.request.deadline_s
        if deadline is not None:
            self._num_added += 1
            heappush(self._due, (deadline, self._num_added, sequence))

    def passed(self, now: float) -> list[Sequence]:
        """Those whose time is over, each once."""
        passed = []
        while (next_s := self.next_s()) is not None and next_s <= now:
            passed.append(heappop(self._due)[2])
        return passed

    def next_s(self) -> float | None:
        """When the next one passes; None if none has a deadline."""
        while self._due and self._due[0][2].state is SequenceState.FINISHED:
            heappop(self._due)
        return self._due[0][0] if self._due else None
