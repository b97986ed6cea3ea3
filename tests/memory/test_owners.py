"""The order of owners against a walk over everything."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from motet.memory.clocks import RealTime, StepClock
from motet.memory.owner import Due, Owner, nearest
from motet.memory.owners import OwnerOrder
from motet.memory.residency import Resident, Worth


@dataclass(slots=True, eq=False)
class Thing(Resident):
    """Something that some own."""

    owners: list[Owner] = field(default_factory=list)
    kind: int = 0
    worth: Worth = Worth.LIVE
    used: int = 0

    is_idle = True
    is_clean = True
    is_built_on = False

    def leave(self) -> Iterator[Resident]:
        yield self

    def nearest_owner(self) -> Owner | None:
        return nearest(self.owners)

    @property
    def restore_class(self) -> int:
        return self.kind


def an_owner(due: Due | None) -> Owner:
    owner = Owner()
    owner.place(due)
    return owner


def victims(order: OwnerOrder) -> list[Resident]:
    """All of them, each as it goes."""
    gone: list[Resident] = []
    while (victim := order.victim()) is not None:
        order.discard(victim)
        gone.append(victim)
    return gone


def test_the_farthest_goes_first_and_who_is_unknown_behind_the_horizon() -> None:
    clock = StepClock(RealTime())
    whens = {"near": 1.0, "far": 60.0, "beyond": 100.0, "never": math.inf, "calling": -math.inf}
    things = {name: Thing(owners=[an_owner(Due(clock, at))]) for name, at in whens.items()}
    things |= {"unknown": Thing(owners=[an_owner(None)]), "stranger": Thing()}
    things |= {"superseded": Thing(worth=Worth.SUPERSEDED), "dead": Thing(worth=Worth.DEAD)}
    order = OwnerOrder(by_cost=True)
    for thing in things.values():
        order.add(thing)
    names = {thing: name for name, thing in things.items()}
    assert [names[thing] for thing in order if isinstance(thing, Thing)] == [
        *("dead", "superseded", "never", "beyond", "unknown", "stranger", "far", "near", "calling")
    ]
    assert [names[thing] for thing in victims(order) if isinstance(thing, Thing)] == [
        *("dead", "superseded", "never", "beyond", "unknown", "stranger", "far", "near", "calling")
    ]


@pytest.mark.parametrize("by_cost", [True, False])
def test_of_those_due_at_once_the_cheapest_goes_first_if_cost_counts(by_cost: bool) -> None:
    due = Due(StepClock(RealTime()), 3.0)
    dear = [Thing(owners=[an_owner(due)], kind=5) for _ in range(2)]
    cheap = [Thing(owners=[an_owner(due)], kind=1) for _ in range(2)]
    order = OwnerOrder(by_cost=by_cost)
    for thing in (*dear, *cheap):
        order.add(thing)
    assert victims(order) == ([*cheap, *dear] if by_cost else [*dear, *cheap])


def test_what_two_own_stays_as_long_as_one_of_them_is_near() -> None:
    clock = StepClock(RealTime())
    near, far = an_owner(Due(clock, 1.0)), an_owner(Due(clock, 9.0))
    shared, other = Thing(owners=[near, far]), Thing(owners=[an_owner(Due(clock, 5.0))])
    order = OwnerOrder(by_cost=False)
    order.add(shared)
    order.add(other)
    near.place(Due(clock, 50.0))  # the shared one stands with it still
    assert order.victim() is other or shared.nearest_owner() is not near
    far.place(Due(clock, 2.0))
    assert victims(order) == [other, shared]


def test_time_passing_moves_nothing_but_changes_who_is_beyond_the_horizon() -> None:
    clock = StepClock(RealTime())
    late, unknown = Thing(owners=[an_owner(Due(clock, 100.0))]), Thing()
    order = OwnerOrder(by_cost=False)
    order.add(late)
    order.add(unknown)
    assert order.victim() is late
    clock.tick(50)
    assert order.victim() is unknown


def test_two_clocks_are_compared_by_seconds() -> None:
    time = RealTime()
    world = StepClock(time)
    for now in range(1, 30):  # its steps take ten seconds
        time.now = now * 10.0
        world.tick(1)
    in_steps = Thing(owners=[an_owner(Due(world, world.now + 3))])
    in_seconds = Thing(owners=[an_owner(Due(time, time.now + 15.0))])
    order = OwnerOrder(by_cost=False)
    order.add(in_seconds)
    order.add(in_steps)
    assert order.victim() is in_steps
    in_seconds.owners[0].place(Due(time, time.now + 45.0))
    assert order.victim() is in_seconds


class OrderMachine(RuleBasedStateMachine):
    """Adds, takes, moves owners and lets steps pass; the victim is that of a walk over all."""

    def __init__(self) -> None:
        super().__init__()
        self.time = RealTime()
        self.clock = StepClock(self.time)
        self.order = OwnerOrder(by_cost=True)
        self.owners = [an_owner(None) for _ in range(6)]
        self.idle: list[Thing] = []
        self.num_added = 0

    @rule(data=st.data(), kind=st.integers(0, 2), worth=st.sampled_from(Worth))
    def add(self, data: st.DataObject, kind: int, worth: Worth) -> None:
        owners = data.draw(st.lists(st.sampled_from(self.owners), max_size=3, unique=True))
        self.num_added += 1
        is_left = worth is Worth.SUPERSEDED and bool(owners)
        thing = Thing(
            owners=owners, kind=kind, worth=Worth.LIVE if is_left else worth, used=self.num_added
        )
        self.idle.append(thing)
        self.order.add(thing)

    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        if self.idle:
            thing = self.idle.pop(data.draw(st.integers(0, len(self.idle) - 1)))
            self.order.discard(thing)

    @rule(data=st.data(), distance=st.sampled_from([None, 0, 1, 2, 5, 63, 70, 200, math.inf]))
    def expect(self, data: st.DataObject, distance: float | None) -> None:
        owner = data.draw(st.sampled_from(self.owners))
        now = self.clock.now
        owner.place(None if distance is None else Due(self.clock, now + distance, now))

    @rule(num_steps=st.integers(1, 4))
    def tick(self, num_steps: int) -> None:
        self.time.now += num_steps
        self.clock.tick(num_steps)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert set(self.order) == set(self.idle)
        assert len(list(self.order)) == len(self.idle)

    @invariant()
    def the_victim_is_the_farthest(self) -> None:
        victim = self.order.victim()
        assert (victim is None) is (not self.idle)
        if isinstance(victim, Thing):
            assert self._place(victim) == max(self._place(thing) for thing in self.idle)

    def _place(self, thing: Thing) -> tuple[float, float, float]:
        """The larger goes first."""
        if thing.worth is not Worth.LIVE:
            return (2.0 + (thing.worth is Worth.DEAD), 0.0, 0.0)
        owner = thing.nearest_owner()
        distance_s = 1e9 if owner is None else owner.distance_s
        if math.isinf(distance_s):
            return (1.0 if distance_s > 0 else -1.0, 0.0, -thing.kind)
        if owner is None or owner.due is None:
            return (0.0, distance_s, 0.0)
        due = owner.due
        far = due.at - due.clock.now
        exact = due.at - due.told <= due.clock.horizon and far <= due.clock.horizon
        return (0.0, distance_s, -thing.kind) if exact else (0.0, round(distance_s, -9), 0.0)


OrderMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_order_against_a_walk = OrderMachine.TestCase


def test_a_push_moves_owners_however_much_they_own() -> None:
    clock, rng = StepClock(RealTime()), random.Random(0)
    order = OwnerOrder(by_cost=True)
    owners = [an_owner(Due(clock, float(rng.randrange(60)))) for _ in range(50)]
    for owner in owners:
        for kind in (0, 1):
            for _ in range(20):
                order.add(Thing(owners=[owner], kind=kind))
    for owner in owners:
        owner.place(Due(clock, float(rng.randrange(60))))
    gone = [thing.owners[0].distance_s for thing in victims(order) if isinstance(thing, Thing)]
    assert gone == sorted(gone, reverse=True)
