"""Reads take their share of a core while something computes, and no longer than that."""

from motet.memory.device.pace import MAX_RESTS_S, NAP_S, PIECE_S, Pace


class Machine:
    """Time that passes when somebody works or sleeps."""

    def __init__(self, share: float) -> None:
        self.now_s = self.worked_s = 0.0
        self.ends_s = float("inf")
        """When what computes is over."""
        self.pace = Pace(share, lambda: self.worked_s, lambda: self.now_s, self.sleep)
        self.computing = self.pace.computing()
        self.pace.begin()

    def work(self, duration_s: float) -> None:
        self.now_s += duration_s
        self.worked_s += duration_s
        self.pace.rest()

    def sleep(self, duration_s: float) -> None:
        assert 0 < duration_s <= NAP_S
        self.now_s += duration_s
        if self.now_s >= self.ends_s:
            self.ends_s = float("inf")
            self.computing.__exit__(None, None, None)


def test_beside_a_computation_work_takes_its_share() -> None:
    machine = Machine(share=0.25)
    with machine.computing:
        for _ in range(100):
            machine.work(0.002)
    assert abs(machine.worked_s / machine.now_s - 0.25) < 0.06


def test_small_pieces_are_counted_together() -> None:
    machine = Machine(share=0.1)
    with machine.computing:
        machine.work(PIECE_S)
        rested_s = machine.now_s
        machine.work(0.4 * PIECE_S)
        assert machine.now_s == rested_s + 0.4 * PIECE_S
        machine.work(0.7 * PIECE_S)
        assert machine.now_s > rested_s + 5 * PIECE_S


def test_where_nothing_computes_nobody_rests() -> None:
    machine = Machine(share=0.1)
    for _ in range(10):
        machine.work(1.0)
    assert machine.now_s == 10
    with machine.computing:
        machine.work(PIECE_S)
    assert machine.now_s <= 10 + 12 * PIECE_S


def test_a_rest_ends_soon_after_the_computation() -> None:
    machine = Machine(share=0.01)
    machine.computing.__enter__()
    machine.work(PIECE_S)
    machine.ends_s = 3.0
    machine.work(1.0)
    assert 3.0 <= machine.now_s <= 3.0 + NAP_S


def test_a_large_work_ends_in_time_and_the_next_one_rests_again() -> None:
    machine = Machine(share=0.01)
    with machine.computing:
        for _ in range(10):
            machine.work(1.0)
        assert 10 + MAX_RESTS_S <= machine.now_s <= 10 + MAX_RESTS_S + NAP_S
        machine.pace.begin()
        machine.work(1.0)
        assert machine.now_s > 11 + 2 * MAX_RESTS_S - NAP_S


def test_a_whole_share_is_no_limit() -> None:
    machine = Machine(share=1)
    with machine.computing:
        machine.work(1.0)
    assert machine.now_s == 1
