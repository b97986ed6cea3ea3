"""Whose turn it is."""

from dataclasses import replace

import pytest

from motet.engine.policy import FirstComeFirstServed
from tests.engine.factories import a_request, a_scheduler
from tests.engine.stepping import ids, step


@pytest.mark.parametrize(
    ("priorities", "expected"),
    [
        ([0, 0, 0], "abc"),
        ([0, 1, -1], "cab"),
        ([2**32, 0, 2**31], "bca"),
        ([0, 0.5, 0], "acb"),
    ],
)
def test_the_lower_priority_goes_first_and_of_equals_the_elder(
    priorities: list[float], expected: str
) -> None:
    requests = [
        replace(a_request(4, 1, request_id=name), priority=priority)
        for name, priority in zip("abc", priorities, strict=True)
    ]
    scheduler = a_scheduler(max_batch_rows=1, policy=FirstComeFirstServed(), requests=requests)
    order = []
    while scheduler.has_work:
        order += ids(step(scheduler)[0])
    assert "".join(order) == expected
