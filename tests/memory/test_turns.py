"""Whose turn it is: what somebody waits for, in the order given, then what is ahead."""

from motet.memory.copy import Ticket
from motet.memory.turns import Turns


def some_turns(urgent: str = "", ahead: str = "") -> Turns[str]:
    """The ticket of each job is its letter."""
    turns: Turns[str] = Turns()
    for job in ahead:
        turns.add(a_ticket(job), job, is_ahead=True)
    for job in urgent:
        turns.add(a_ticket(job), job, is_ahead=False)
    return turns


def a_ticket(job: str) -> Ticket:
    return Ticket(ord(job))


def order(turns: Turns[str]) -> str:
    jobs = ""
    while (job := turns.first()) is not None:
        assert turns.get(a_ticket(job)) == job
        turns.remove(a_ticket(job))
        jobs += job
    assert not len(turns)
    return jobs


def test_those_that_are_waited_for_come_first_each_in_the_order_given() -> None:
    assert order(some_turns(urgent="ba", ahead="dc")) == "badc"


def test_one_that_is_hurried_comes_last_among_those_that_are_waited_for() -> None:
    turns = some_turns(urgent="ab", ahead="cde")
    for job in "dax":  # nothing changes for one that is waited for, or is not there
        turns.hurry(a_ticket(job))
    assert order(turns) == "abdce"


def test_any_can_be_put_first() -> None:
    turns = some_turns(urgent="ab", ahead="cd")
    for job in "db":
        turns.put_first(a_ticket(job))
    assert turns.get(a_ticket("x")) is None
    assert order(turns) == "bdac"
