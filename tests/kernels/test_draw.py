"""Draws: native ones against those in torch, and both against what can be worked out by hand."""

import math
from dataclasses import fields
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from motet.kernels import DrawBatch, Kernels, load_kernels, reference

NATIVE = load_kernels("cpu")
BOTH = pytest.mark.parametrize("kernels", [NATIVE, reference], ids=["cpu", "reference"])


def a_batch(numbers: Tensor, **params: float) -> DrawBatch:
    """A row for each number, all of them with the same parameters."""
    neutral = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    columns = {name: torch.full_like(numbers, value) for name, value in (neutral | params).items()}
    return DrawBatch(**columns | {"top_k": columns["top_k"].long()}, number=numbers)


def some_numbers(count: int) -> Tensor:
    return torch.rand(count, dtype=torch.float64)


def drawn(kernels: Kernels, logits: Tensor, batch: DrawBatch) -> Tensor:
    token_ids = torch.full((len(logits),), -1)
    kernels.draw(token_ids, logits.clone(), batch)
    return token_ids


def assert_same_draws(logits: Tensor, batch: DrawBatch) -> None:
    """Tokens may differ only where a number lies on the border between two.

    The exponential functions differ by their last bit, so a number that meets the border of two
    tokens to within 1e-6 may draw either.
    """
    native, expected = drawn(NATIVE, logits, batch), drawn(reference, logits, batch)
    for row in (native != expected).nonzero()[:, 0].tolist():
        one = slice(row, row + 1)
        nearby = [
            drawn(reference, logits[one], with_number(batch, one, shift)).item()
            for shift in (-1e-6, 1e-6)
        ]
        assert min(nearby) <= native[row] <= max(nearby)


def with_number(batch: DrawBatch, rows: slice, shift: float) -> DrawBatch:
    columns = {field.name: getattr(batch, field.name)[rows] for field in fields(batch)}
    return DrawBatch(**columns | {"number": (columns["number"] + shift).clamp(0, 1 - 1e-16)})


LOGITS = {
    "random": lambda rows, vocab: 2 * torch.randn(rows, vocab),
    "flat": lambda rows, vocab: 1e-3 * torch.randn(rows, vocab),
    "equal": lambda rows, vocab: torch.full((rows, vocab), -3.0),
    "peaked": lambda rows, vocab: 12 * torch.randn(rows, vocab),
    "tied": lambda rows, vocab: torch.randint(0, 9, (rows, vocab)) / 4,
    "masked": lambda rows, vocab: torch.randn(rows, vocab).where(
        torch.rand(rows, vocab) < 0.5, -torch.inf
    ),
    "signed zeros": lambda rows, vocab: torch.randint(-1, 2, (rows, vocab)) * 0.0,
    "far apart": lambda rows, vocab: 1e30 * torch.randn(rows, vocab),
}

FILTERS = [
    {},
    {"top_k": 1},
    {"top_k": 50},
    {"top_k": 1200},
    {"top_p": 1e-9},
    {"top_p": 0.5},
    {"top_p": 0.9},
    {"top_p": 1 - 1e-12},
    {"min_p": 1.0},
    {"min_p": 0.02},
    {"top_k": 300, "top_p": 0.9, "min_p": 0.01},
]


@pytest.mark.parametrize("params", FILTERS, ids=str)
@pytest.mark.parametrize("kind", LOGITS)
@pytest.mark.parametrize("vocab", [1, 7, 511, 512, 3001])
def test_native_draws_are_those_of_the_reference(
    vocab: int, kind: str, params: dict[str, float]
) -> None:
    logits = LOGITS[kind](40, vocab)
    logits[:, vocab // 2] = logits[:, vocab // 2].nan_to_num(neginf=0.0)  # one can be drawn

    for temperature in (0.0, 0.3, 1.0, 20.0):
        assert_same_draws(logits, a_batch(some_numbers(40), temperature=temperature, **params))


@settings(max_examples=100, deadline=None)
@given(
    logits=st.lists(st.integers(-8, 8), min_size=1, max_size=60),
    quarter=st.booleans(),
    temperature=st.sampled_from([0.1, 0.7, 1.0, 3.0]),
    top_k=st.integers(0, 70),
    top_p=st.floats(1e-6, 1.0),
    min_p=st.floats(0.0, 1.0),
    number=st.floats(0.0, 1.0, exclude_max=True),
)
def test_any_native_draw_is_that_of_the_reference(
    logits: list[int],
    quarter: bool,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    number: float,
) -> None:
    row = torch.tensor([logits]) / (4.0 if quarter else 1.0)
    numbers = torch.tensor([number], dtype=torch.float64)

    params = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    assert_same_draws(row, a_batch(numbers, **params))


@BOTH
@pytest.mark.parametrize("vocab", [5, 4096, 128_256])
def test_equal_logits_are_drawn_in_the_order_of_ids(kernels: Kernels, vocab: int) -> None:
    numbers = some_numbers(30)
    expected = (numbers * vocab).long()

    for params in ({}, {"top_k": 3}, {"top_p": 0.5}, {"min_p": 1.0}):  # none parts equal logits
        batch = a_batch(numbers, **params)
        assert torch.equal(drawn(kernels, torch.ones(30, vocab), batch), expected)


@BOTH
def test_the_first_and_the_last_number_draw_tokens_that_can_be(kernels: Kernels) -> None:
    logits = torch.full((2, 2000), -torch.inf)
    logits[:, 700:1300] = torch.randn(600)
    numbers = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)

    assert drawn(kernels, logits, a_batch(numbers)).tolist() == [700, 1299]


@BOTH
@pytest.mark.parametrize("temperature", [0.0, 1e-300, 1.0])
def test_what_is_masked_is_never_drawn(kernels: Kernels, temperature: float) -> None:
    logits = torch.full((50, 1000), -torch.inf)
    logits[:, 613] = -80.0

    batch = a_batch(some_numbers(50), temperature=temperature, top_k=20, top_p=0.9)

    assert drawn(kernels, logits, batch).tolist() == [613] * 50


@BOTH
@pytest.mark.parametrize("vocab", [1, 7, 8, 9, 1000])
def test_greedy_takes_the_lowest_id_among_equal_maxima(kernels: Kernels, vocab: int) -> None:
    for first in {0, vocab // 2, vocab - 1}:
        logits = torch.randn(1, vocab)
        logits[:, first::3] = 9.0

        assert drawn(kernels, logits, a_batch(some_numbers(1), temperature=0)).tolist() == [first]


@BOTH
def test_the_tail_of_a_large_vocabulary_is_drawn_token_by_token(kernels: Kernels) -> None:
    """Behind a token that is almost sure, fp32 sums would run many others together."""
    vocab, tail = 100_000, 1e-8
    logits = torch.full((64, vocab), math.log(tail))
    logits[:, 0] = 0
    expected = torch.arange(50_000, 50_064)
    numbers = (1 + (expected.double() - 0.5) * tail) / (1 + (vocab - 1) * tail)

    assert (drawn(kernels, logits, a_batch(numbers)) - expected).abs().max() <= 1


def test_a_row_draws_natively_the_same_alone_as_among_others() -> None:
    logits = 4 * torch.randn(90, 1500)
    batch = DrawBatch(
        temperature=torch.rand(90).round(decimals=1).double(),
        top_k=torch.randint(0, 60, (90,)),
        top_p=torch.rand(90).double(),
        min_p=torch.rand(90).double() / 9,
        number=some_numbers(90),
    )
    alone = [
        drawn(NATIVE, logits[i : i + 1], with_number(batch, slice(i, i + 1), 0.0)).item()
        for i in range(90)
    ]

    assert drawn(NATIVE, logits, batch).tolist() == alone


@BOTH
def test_a_row_that_is_not_finite_gets_a_token_and_harms_no_other(kernels: Kernels) -> None:
    numbers = some_numbers(12)
    logits = torch.randn(12, 1111)
    batch = a_batch(numbers, top_k=7, top_p=0.7)
    expected = drawn(kernels, logits, batch)
    logits[2, 3], logits[5, 1110], logits[7] = torch.nan, torch.inf, -torch.inf

    tokens = drawn(kernels, logits, batch)

    healthy = [i for i in range(12) if i not in (2, 5, 7)]
    assert torch.equal(tokens[healthy], expected[healthy])


def test_no_row_draws_nothing() -> None:
    assert drawn(NATIVE, torch.empty(0, 100), a_batch(some_numbers(0))).tolist() == []


@pytest.mark.parametrize("params", [{"top_p": 0.95}, {"top_k": 200}, {"top_k": 20, "top_p": 0.5}])
def test_the_window_of_the_reference_changes_nothing_but_the_speed(
    params: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, batch = 2 * torch.randn(50, 500), a_batch(some_numbers(50), **params)
    whole = drawn(reference, logits, batch)
    monkeypatch.setattr(import_module("motet.kernels.reference.draw"), "WINDOW", 16)

    assert torch.equal(drawn(reference, logits, batch), whole)
