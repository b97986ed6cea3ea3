"""What one key may tell in a second, by a clock that the test turns."""

import pytest

from motet.errors import RateLimited
from motet.server.http.config import ServerConfig
from motet.server.http.rate import HintRates

CONFIG = ServerConfig(max_pushes_per_second=2, max_hints_per_second=100)


class Clock:
    """Says what it was set to."""

    now_s = 5.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rates(clock: Clock) -> HintRates:
    return HintRates(CONFIG, clock)


def test_a_second_brings_so_many_pushes_and_no_more_are_saved_up(
    rates: HintRates, clock: Clock
) -> None:
    for _ in range(3):
        rates.admit_push("a")
        rates.admit_push("a")
        with pytest.raises(RateLimited, match="more than 2 pushes a second") as refused:
            rates.admit_push("a")
        assert refused.value.retry_after_s == 1
        clock.now_s += 10


def test_tenants_do_not_share(rates: HintRates) -> None:
    rates.admit_push("a")
    rates.admit_push("a")
    rates.admit_push("b")


def test_a_large_push_is_let_through_and_paid_for_later(rates: HintRates, clock: Clock) -> None:
    rates.admit_hints("a", 250)
    with pytest.raises(RateLimited, match="more than 100 agents in hints a second") as refused:
        rates.admit_hints("a")
    assert refused.value.retry_after_s == 2  # 150 owed
    clock.now_s += refused.value.retry_after_s
    rates.admit_hints("a")


def test_a_refusal_costs_nothing(rates: HintRates, clock: Clock) -> None:
    rates.admit_hints("a", 101)
    for _ in range(10):
        with pytest.raises(RateLimited):
            rates.admit_hints("a", 1000)
    clock.now_s += 0.5
    rates.admit_hints("a", 1000)
