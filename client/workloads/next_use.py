"""When each agent truly calls again, as the calls themselves show it."""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from motet.client.workloads.trace import Call

TIME_DIGITS = 6


def in_order(calls: Iterable[Call]) -> tuple[Call, ...]:
    """The calls sorted by when they are made, numbered anew, each with its agent's next use.

    `after` must name calls that stand before.
    """
    given = list(calls)
    starts = nominal_starts(given)
    by_start = sorted(range(len(given)), key=starts.__getitem__)
    number_of = {given[index].call_id: number for number, index in enumerate(by_start)}
    found: list[Call] = []
    upcoming: dict[str, float] = {}
    for number in range(len(by_start) - 1, -1, -1):
        call, start = given[by_start[number]], starts[by_start[number]]
        following = upcoming.get(call.agent)
        next_step, next_s = None, None
        if following is not None and call.step is not None:
            next_step = int(following)
        elif following is not None:
            next_s = round(following - start, TIME_DIGITS)
        found.append(
            replace(
                call,
                call_id=number,
                after=tuple(number_of[earlier] for earlier in call.after),
                next_step=next_step,
                next_s=next_s,
            )
        )
        upcoming[call.agent] = start
    return tuple(reversed(found))


def nominal_starts(calls: Sequence[Call]) -> list[float]:
    """Steps of a stepped world; in time, when each would be made if calls took no time."""
    start_of: dict[int, float] = {}
    for call in calls:
        if call.step is not None:
            start_of[call.call_id] = call.step
            continue
        ready = max(map(start_of.__getitem__, call.after), default=0.0) + call.delay_s
        start_of[call.call_id] = round(max(ready, call.arrival_s or 0.0), TIME_DIGITS)
    return [start_of[call.call_id] for call in calls]
