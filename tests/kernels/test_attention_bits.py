"""Native attention where it splits contexts, and that nothing depends on what is beside it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from motet.kernels import load_kernels
from tests.kernels.batches import LAYER, Row, a_row, some_rows
from tests.kernels.target import Target, bits
from tests.kernels.test_attention import an_arena, attend, check_against_dense

NUM_HEADS = 6
WINDOWS = (None, 1, 40, 600)

PROMPT = 700
"""Tokens: more than a split of positions, and several blocks of queries."""


@pytest.fixture
def target(dtype: torch.dtype) -> Target:
    return Target(load_kernels("cpu"), torch.device("cpu"), dtype)


def some_of(row: Row, start: int, stop: int) -> Row:
    """The queries at positions [start, stop) of a row, before any later token is computed."""
    return Row(stop - start, row.key[:stop], row.value[:stop], row.lease)


def random_cuts(length: int, most: int, rng: random.Random) -> list[tuple[int, int]]:
    """Chunks [start, stop) of up to `most` tokens."""
    chunks, start = [], 0
    while start < length:
        chunks.append((start, min(length, start + rng.randint(1, most))))
        start = chunks[-1][1]
    return chunks


@contextmanager
def num_threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def assert_same_bits(actual: Tensor, expected: Tensor) -> None:
    assert torch.equal(bits(actual), bits(expected))


@pytest.mark.parametrize("window", WINDOWS)
def test_contexts_of_several_splits_equal_dense_attention(
    target: Target, window: int | None
) -> None:
    arena = an_arena(target, page_tokens=16, head_dim=40, num_pages=210)
    rows = some_rows(arena, [(1, 512), (1, 513), (3, 514), (1, 1100), (130, 600)])

    check_against_dense(arena, rows, NUM_HEADS, window)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("most", [1, 7, 64, 500])
def test_a_prompt_in_chunks_equals_the_whole(target: Target, most: int, window: int | None) -> None:
    arena = an_arena(target, page_tokens=16, head_dim=20)
    row, query = a_row(arena, PROMPT, PROMPT), target.randn(PROMPT, NUM_HEADS, 20)
    whole = attend(arena, [row], query, window)

    for start, stop in random_cuts(PROMPT, most, random.Random(most)):
        chunk = attend(arena, [some_of(row, start, stop)], query[start:stop], window)
        assert_same_bits(chunk, whole[start:stop])


@pytest.mark.parametrize("group", [1, 2, 4, 5, 7, 8, 150])
def test_chunks_equal_the_whole_for_any_number_of_heads(target: Target, group: int) -> None:
    arena = an_arena(target, page_tokens=16)
    row, query = a_row(arena, 75, 75), target.randn(75, 2 * group, 16)
    whole = attend(arena, [row], query)

    for start, stop in random_cuts(75, 20, random.Random(group)):
        chunk = attend(arena, [some_of(row, start, stop)], query[start:stop])
        assert_same_bits(chunk, whole[start:stop])


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("seed", range(3))
def test_a_row_alone_equals_itself_among_random_neighbours(
    target: Target, seed: int, window: int | None
) -> None:
    rng = random.Random(seed)
    arena = an_arena(target, page_tokens=8, head_dim=32, num_pages=1000)
    contexts = [rng.choice((1, 33, 100, 513, 900)) for _ in range(12)]
    lengths = [(rng.choice((1, 1, rng.randint(1, context))), context) for context in contexts]
    rows = some_rows(arena, lengths)
    queries = [target.randn(new, NUM_HEADS, 32) for new, _ in lengths]

    together = attend(arena, rows, torch.cat(queries), window)

    by_row = torch.split(together, [new for new, _ in lengths])
    for row, query, among_others in zip(rows, queries, by_row, strict=True):
        assert_same_bits(among_others, attend(arena, [row], query, window))


@pytest.mark.parametrize("window", WINDOWS)
def test_one_thread_computes_what_two_do(target: Target, window: int | None) -> None:
    arena = an_arena(target, page_tokens=16, head_dim=64, num_pages=300)
    rows = some_rows(arena, [(1, 3000), (200, 700), (1, 1), (40, 600)])
    query = target.randn(242, NUM_HEADS, 64)

    with num_threads(1):
        alone = attend(arena, rows, query, window)
    with num_threads(2):
        shared = attend(arena, rows, query, window)

    assert_same_bits(shared, alone)


def test_the_size_of_pages_changes_nothing(target: Target) -> None:
    results = []
    for page_tokens in (1, 3, 16, 64):
        torch.manual_seed(0)  # the same keys and values
        arena = an_arena(target, page_tokens, num_pages=700)
        results.append(attend(arena, some_rows(arena, [(30, 600)]), target.randn(30, 4, 16)))

    for result in results[1:]:
        assert_same_bits(result, results[0])


def test_what_later_tokens_hold_does_not_reach_earlier_ones(target: Target) -> None:
    arena = an_arena(target, page_tokens=16)
    row, query = a_row(arena, 90, 90), target.randn(90, 4, 16)
    expected = attend(arena, [row], query)
    index = row.kv_indices(16)[50]

    arena.kv[index // 16, LAYER, :, index % 16] = torch.nan

    actual = attend(arena, [row], query)
    assert_same_bits(actual[:50], expected[:50])
    assert actual[50:].isnan().all()
