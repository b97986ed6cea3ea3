"""Few rows, and no two values that never meet."""

from itertools import combinations, product
from math import prod

import pytest

from tests.contract.pairwise import pairwise

TABLES: dict[str, dict[str, list[object]]] = {
    "two parameters": {"a": [1, 2, 3], "b": ["x", "y"]},
    "one value": {"a": [1], "b": [1, 2], "c": [1, 2, 3]},
    "equal values": {"a": [{}, {}], "b": [[], []], "c": [None, None]},
    "many parameters": {f"p{i}": [*range(2 + i % 3)] for i in range(20)},
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_two_values_of_different_parameters_meet(table: dict[str, list[object]]) -> None:
    rows = [*pairwise(table)]
    for one, other in combinations(table, 2):
        for value, partner in product(table[one], table[other]):
            assert any(row[one] is value and row[other] is partner for row in rows)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_row_has_a_value_for_each_parameter(table: dict[str, list[object]]) -> None:
    for row in pairwise(table):
        assert row.keys() == table.keys()
        assert all(any(value is own for own in table[name]) for name, value in row.items())


def test_rows_are_few_and_always_the_same() -> None:
    table = TABLES["many parameters"]
    rows = [*pairwise(table)]
    assert len(rows) < 40 < prod(map(len, table.values()))
    assert rows == [*pairwise(table)]
    assert rows != [*pairwise(table, seed=1)]
