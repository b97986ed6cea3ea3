"""Who has to end in time is kept no longer than it is unfinished."""

from motet.engine.deadlines import Deadlines
from motet.engine.sequence import Sequence, SequenceState
from motet.memory.lazy_heap import MIN_ENTRIES
from motet.memory.transition import move
from tests.engine.factories import a_request, a_sequence


def a_due_sequence(arrival: int, deadline_s: float) -> Sequence:
    return a_sequence(arrival, a_request(deadline_s=deadline_s))


def test_they_pass_in_order_and_finished_ones_never() -> None:
    deadlines = Deadlines()
    sequences = [a_due_sequence(i, deadline_s=float(10 - i)) for i in range(10)]
    for sequence in sequences:
        deadlines.add(sequence)
    move(sequences[9], SequenceState.FINISHED)
    assert deadlines.next_s() == 2.0
    assert deadlines.passed(4.0) == [sequences[8], sequences[7], sequences[6]]
    assert deadlines.passed(4.0) == []


def test_finished_ones_do_not_pile_up_until_their_deadlines() -> None:
    deadlines = Deadlines()
    unfinished = [a_due_sequence(i, deadline_s=3600.0) for i in range(100)]
    for sequence in unfinished:
        deadlines.add(sequence)
    for number in range(10 * MIN_ENTRIES):
        sequence = a_due_sequence(number, deadline_s=7200.0 - number)
        deadlines.add(sequence)
        move(sequence, SequenceState.FINISHED)
    assert len(deadlines._due) < 3 * len(unfinished)
    assert deadlines.passed(8000.0) == unfinished
