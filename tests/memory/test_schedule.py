"""Who comes next, who is looked at, and of whom it is too late to believe anything."""

import pytest

from motet.memory.clocks import RealTime, StepClock
from motet.memory.owner import Due, Owner
from motet.memory.schedule import Schedule, Slot


class Somebody(Owner):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.slot: Slot[Somebody] | None = None
        self.is_open = False


@pytest.fixture
def clock() -> StepClock:
    return StepClock(RealTime())


def a_schedule(clock: StepClock, **whens: float) -> tuple[Schedule[Somebody], dict[str, Somebody]]:
    schedule: Schedule[Somebody] = Schedule()
    people = {name: Somebody(name) for name in whens}
    for name, at in whens.items():
        place(schedule, people[name], clock, at)
    return schedule, people


def place(schedule: Schedule[Somebody], who: Somebody, clock: StepClock, distance: float) -> None:
    due = Due(clock, clock.now + distance, clock.now)
    who.place(due)
    schedule.place(who, due)


def names(schedule: Schedule[Somebody]) -> str:
    return "".join(who.name for who in schedule.nearest_first())


def test_the_nearest_come_first_and_those_beyond_the_horizon_not_at_all(clock: StepClock) -> None:
    schedule, _ = a_schedule(clock, c=9.0, a=0.0, d=64.0, b=2.0, e=65.0, f=1e300)
    assert names(schedule) == "abcd"
    clock.tick(1)
    assert names(schedule) == "abcde"


def test_who_is_placed_anew_stands_there_only(clock: StepClock) -> None:
    schedule, people = a_schedule(clock, a=1.0, b=2.0)
    for distance in (3.0, 1.0, 3.0):
        place(schedule, people["a"], clock, distance)
    assert names(schedule) == "ba"
    schedule.check(set(people.values()))


def test_who_leaves_is_not_seen_again(clock: StepClock) -> None:
    schedule, people = a_schedule(clock, a=1.0, b=2.0)
    people["a"].slot = None
    assert names(schedule) == "b"


def test_who_is_closed_is_passed_until_there_is_something_to_look_at(clock: StepClock) -> None:
    schedule, people = a_schedule(clock, a=1.0, b=2.0, c=3.0)
    people["b"].is_open = people["a"].is_open = False
    assert names(schedule) == "c"
    schedule.reopen(people["b"])
    schedule.reopen(people["b"])
    assert names(schedule) == "bc"


def test_steps_and_seconds_stand_in_one_order(clock: StepClock) -> None:
    schedule, _ = a_schedule(clock, b=2.0, d=4.0)
    time = RealTime()
    for name, seconds in (("a", 1.0), ("c", 3.0)):
        who, due = Somebody(name), Due(time, seconds)
        who.place(due)
        schedule.place(who, due)
    assert names(schedule) == "abcd"


def test_who_is_late_comes_first_and_is_taken_when_that_is_worth_nothing(clock: StepClock) -> None:
    schedule, people = a_schedule(clock, a=2.0, b=5.0, c=40.0)
    clock.tick(3)
    assert schedule.take_late() == []
    assert names(schedule) == "abc"
    schedule.check(set(people.values()))
    clock.tick(2)
    assert schedule.take_late() == [people["a"]] and people["a"].slot is None
    clock.tick(6)
    assert schedule.take_late() == [people["b"]]
    assert names(schedule) == "c"


def test_who_is_late_and_placed_anew_is_not_taken(clock: StepClock) -> None:
    schedule, people = a_schedule(clock, a=2.0)
    clock.tick(4)
    assert schedule.take_late() == []
    place(schedule, people["a"], clock, 2.0)
    clock.tick(1)
    assert schedule.take_late() == []


def test_pushes_without_end_take_no_more_place_than_agents(clock: StepClock) -> None:
    schedule, people = a_schedule(clock, a=2.0, b=3.0)
    for number in range(10_000):
        place(schedule, people["a"], clock, float(number % 3))
    slots = [slot for line in schedule._lines.values() for slot in line.slots.values()]
    assert sum(len(slot.all) + len(slot.open) for slot in slots) < 10_000
    assert names(schedule) == "ab"
