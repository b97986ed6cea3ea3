"""Few combinations in which every two values of different parameters meet."""

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

_CANDIDATES = 30  # tried for each row; more would make the table a little shorter

Pair = tuple[str, int, str, int]


def pairwise(table: Mapping[str, Sequence[Any]], seed: int = 0) -> Iterator[dict[str, Any]]:
    """Rows with a value for each parameter; every pair of values stands in at least one row.

    Greedy: each row starts from a pair that is still missing and is the best of some random ones.
    Equal arguments, equal rows.
    """
    dice = random.Random(seed)
    missing = {
        (one, i, other, j): None  # a dict, since the order of a set of strings changes
        for one, other in combinations(table, 2)
        for i in range(len(table[one]))
        for j in range(len(table[other]))
    }
    while missing:
        one, i, other, j = next(iter(missing))
        rows = [
            {name: dice.randrange(len(values)) for name, values in table.items()}
            | {one: i, other: j}
            for _ in range(_CANDIDATES)
        ]
        best = max(rows, key=lambda row: sum(pair in missing for pair in _pairs(row)))
        for pair in _pairs(best):
            missing.pop(pair, None)
        yield {name: table[name][index] for name, index in best.items()}


def _pairs(row: Mapping[str, int]) -> Iterator[Pair]:
    return ((*one, *other) for one, other in combinations(row.items(), 2))
