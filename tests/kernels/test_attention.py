"""KV write and paged attention on pages of a real arena, against dense attention."""

import pytest
import torch
from torch import Tensor

from tests.kernels.arena import Arena, a_layout
from tests.kernels.batches import LAYER, Row, an_attention_batch, some_rows, write_kv
from tests.kernels.target import TOLERANCE, Target, assert_near, bits

GROUP = "attention"

SCALE = 0.3
MIXED = [(7, 7), (1, 1), (1, 13), (3, 9), (1, 8), (5, 21), (1, 4)]
"""New and total tokens of each row: whole and chunked prefill, decode, full and started pages."""

LONG = [(70, 91), (1, 100), (1, 33), (2, 64)]
"""Rows of several blocks of queries and of positions in Triton. Windows of the last queries of a
block begin past its first positions."""

WINDOWS = (1, 3, 16, 17, 1000)
"""Less than a page, one page and a token more, more than any context."""


def an_arena(
    target: Target, page_tokens: int = 4, head_dim: int = 16, num_pages: int = 100
) -> Arena:
    arena = Arena(target, a_layout(target, page_tokens, head_dim), num_pages)
    arena.shuffle_free_pages()
    return arena


def attend(arena: Arena, rows: list[Row], query: Tensor, window: int | None = None) -> Tensor:
    out = torch.full_like(query, torch.nan)
    batch, kernels = an_attention_batch(arena, rows), arena.target.kernels
    plan = kernels.prepare_attention(batch, arena.kv, query.shape[1], SCALE, window)
    kernels.paged_attention(out, query, arena.kv, LAYER, plan)
    return out


def dense(rows: list[Row], query: Tensor, window: int | None = None) -> Tensor:
    """The same in float64, with repeated KV heads, one row after the other."""
    attended = []
    queries = torch.split(query.double(), [row.num_queries for row in rows])
    for row, q in zip(rows, queries, strict=True):
        group = q.shape[1] // row.key.shape[1]
        key, value = (kv.double().repeat_interleave(group, 1) for kv in (row.key, row.value))
        scores = SCALE * torch.einsum("qhd,khd->hqk", q, key)
        is_seen = torch.ones_like(scores, dtype=torch.bool).tril(row.first_position)
        if window is not None:
            is_seen = is_seen.triu(row.first_position - window + 1)
        weights = scores.masked_fill(~is_seen, -torch.inf).softmax(-1)
        attended.append(torch.einsum("hqk,khd->qhd", weights, value))
    return torch.cat(attended)


def check_against_dense(
    arena: Arena, rows: list[Row], num_heads: int, window: int | None = None
) -> None:
    num_tokens = sum(row.num_queries for row in rows)
    query = arena.target.randn(num_tokens, num_heads, arena.layout.head_dim)

    out = attend(arena, rows, query, window)

    assert_near(out, dense(rows, query, window), TOLERANCE[arena.target.dtype])


@pytest.mark.parametrize("group", [*range(1, 9), 13])
def test_prefill_and_decode_rows_in_one_batch_equal_dense_attention(
    target: Target, group: int
) -> None:
    arena = an_arena(target)

    check_against_dense(arena, some_rows(arena, MIXED), 2 * group)


@pytest.mark.parametrize("head_dim", [8, 16, 20, 32, 64, 80, 96, 128, 256])
def test_any_head_size_equals_dense_attention(target: Target, head_dim: int) -> None:
    arena = an_arena(target, 16, head_dim)

    check_against_dense(arena, some_rows(arena, [(3, 9), (1, 20)]), num_heads=6)


@pytest.mark.parametrize(("page_tokens", "head_dim"), [(16, 8), (3, 24), (1, 80), (40, 16)])
def test_any_page_and_head_size_equals_dense_attention(
    target: Target, page_tokens: int, head_dim: int
) -> None:
    arena = an_arena(target, page_tokens, head_dim)

    check_against_dense(arena, some_rows(arena, MIXED), num_heads=4)


@pytest.mark.parametrize("window", [None, 17])
def test_a_long_prefill_behind_a_prefix_equals_dense_attention(
    target: Target, window: int | None
) -> None:
    arena = an_arena(target, page_tokens=16)

    check_against_dense(arena, some_rows(arena, [(150, 171), (1, 100)]), 4, window)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_window_hides_what_lies_before_it(target: Target, window: int) -> None:
    arena = an_arena(target, page_tokens=16)

    check_against_dense(arena, some_rows(arena, MIXED + LONG), 2, window)


def test_a_window_of_one_token_is_its_own_value(target: Target) -> None:
    arena = an_arena(target)
    rows = some_rows(arena, MIXED)

    out = attend(arena, rows, target.randn(sum(new for new, _ in MIXED), 2, 16), window=1)

    assert torch.equal(out, torch.cat([row.value[row.first_position :] for row in rows]))


@pytest.mark.parametrize("window", [1, 17])
def test_kv_behind_the_windows_of_a_row_is_not_seen(target: Target, window: int) -> None:
    arena = an_arena(target, page_tokens=16)
    rows = some_rows(arena, LONG)
    expected = dense(rows, query := target.randn(sum(new for new, _ in LONG), 4, 16), window)
    for row in rows:
        for index in row.kv_indices(16)[: max(0, row.first_position - window + 1)]:
            arena.kv[index // 16, LAYER, :, index % 16] = torch.nan

    assert_near(attend(arena, rows, query, window), expected, TOLERANCE[target.dtype])


def test_one_token_of_context_is_its_own_value(target: Target) -> None:
    arena = an_arena(target)
    rows = some_rows(arena, [(1, 1)])

    out = attend(arena, rows, target.randn(1, 2, 16))

    assert torch.equal(out, rows[0].value)


def test_stale_kv_of_a_released_sequence_is_not_seen(target: Target) -> None:
    arena = Arena(target, a_layout(target, 4, 16), num_pages=3)
    for lease in [row.lease for row in some_rows(arena, [(12, 12)])]:
        arena.pool.release(lease)

    check_against_dense(arena, some_rows(arena, [(1, 6), (2, 2)]), num_heads=4)


def test_queries_may_be_part_of_a_fused_projection(target: Target) -> None:
    arena = an_arena(target)
    rows = some_rows(arena, [(3, 5), (1, 6)])
    query = target.randn(4, 6, 16)[:, :4]

    assert_near(attend(arena, rows, query), dense(rows, query), TOLERANCE[target.dtype])


def test_a_batch_without_rows_is_nothing(target: Target) -> None:
    arena = an_arena(target)

    assert attend(arena, [], target.randn(0, 4, 16)).shape == (0, 4, 16)


def test_kv_is_written_to_its_places_only(target: Target) -> None:
    arena = an_arena(target, page_tokens=4, head_dim=24)
    expected = arena.kv.clone()
    fused = target.randn(3, 6, 24)
    key, value = fused[:, 2:4], fused[:, 4:6]
    indices = [9, 4 * 99 + 3, 0]
    for token, index in enumerate(indices):
        expected[index // 4, LAYER, 0, index % 4] = key[token]
        expected[index // 4, LAYER, 1, index % 4] = value[token]

    write_kv(arena, key, value, target.ints(indices, torch.int64))

    assert torch.equal(bits(arena.kv), bits(expected))


def test_writing_the_kv_of_no_token_changes_nothing(target: Target) -> None:
    arena = an_arena(target)
    before, nothing = bits(arena.kv), target.randn(0, 2, 16)

    write_kv(arena, nothing, nothing, target.ints([], torch.int64))

    assert torch.equal(bits(arena.kv), before)
