"""The sampler: exact draws, exact filters, and nothing that depends on the rest of the batch."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from motet.engine.device.draw import uniform
from motet.engine.device.sampler import sample
from motet.engine.plan import SampledToken
from motet.engine.request import SamplingParams
from motet.kernels import Kernels, load_kernels
from tests.engine.factories import a_sampling_row
from tests.kernels.conftest import NEEDS_GPU


@pytest.fixture(scope="module", params=["cpu", "reference"])
def kernels(request: pytest.FixtureRequest) -> Kernels:
    return load_kernels(request.param)


def sample_one(
    kernels: Kernels, logits: Tensor, num_generated: int = 0, **params: Any
) -> SampledToken:
    row = a_sampling_row(num_generated, **params)
    (token,) = sample(kernels, logits.clone().unsqueeze(0), [row])
    return token


def some_logits(vocab: int = 50, seed: int = 0, num_rows: int = 1) -> Tensor:
    return torch.randn(num_rows, vocab, generator=torch.Generator().manual_seed(seed)) * 2


# The uniform numbers.


def test_uniform_numbers_are_the_documented_ones() -> None:
    """Pinned: a seed that a client has stored gives the same text in every version."""
    assert [uniform(*at) for at in PINNED] == list(PINNED.values())


PINNED = {
    (0, 0, 0): 0.13870941014555427,
    (0, 1, 0): 0.5803592313314876,
    (1, 0, 0): 0.6935121390102292,
    (0, 0, 1): 0.2582654469187293,
    (2**64 - 1, 2**20, 0): 0.5842663137512842,
}
"""(seed, position, choice) -> number."""


def test_uniform_numbers_are_uniform() -> None:
    numbers = np.array([uniform(seed, position) for seed in range(100) for position in range(100)])
    counts, _ = np.histogram(numbers, bins=20, range=(0, 1))
    assert ((counts - 500) ** 2 / 500).sum() < 43.8  # chi-squared, 19 degrees, p = 0.001
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.03


# The tokens they lead to.

PINNED_DRAWS: dict[str, tuple[dict[str, Any], str]] = {
    "plain": (
        {},
        "132 581 119 251 897 54 860 429 297 996 330 528 442 271 904 574 53 173 310 733",
    ),
    "hot": (
        {"temperature": 1.7, "seed": 1},
        "693 831 897 186 365 965 20 419 457 17 371 523 582 68 153 159 818 601 475 503",
    ),
    "nucleus": (
        {"temperature": 0.8, "top_p": 0.9, "seed": 2},
        "99 561 515 548 146 80 449 185 179 765 640 924 245 409 21 686 463 521 983 14",
    ),
    "filtered": (
        {"top_k": 50, "min_p": 0.05, "seed": 3},
        "330 33 53 152 53 277 541 376 310 231 66 297 752 409 930 765 119 521 409 165",
    ),
    "penalised": (
        {
            "repetition_penalty": 1.3,
            "presence_penalty": 0.5,
            "frequency_penalty": 0.25,
            "logit_bias": ((17, 2.5), (994, -100.0)),
            "seed": 2**64 - 1,
            "choice": 3,
        },
        "681 818 938 73 99 838 542 264 772 607 218 620 747 47 310 281 33 805 370 884",
    ),
}
"""20 draws for each of 5 sets of parameters. No draw is closer than 5e-6 to its neighbour's."""


@pytest.mark.parametrize(
    ("backend", "device"),
    [
        ("cpu", "cpu"),
        ("reference", "cpu"),
        pytest.param("triton", "cuda", marks=NEEDS_GPU),
    ],
)
@pytest.mark.parametrize("name", PINNED_DRAWS)
def test_a_hundred_draws_are_the_same_integers_everywhere(
    name: str, backend: str, device: str
) -> None:
    params, expected = PINNED_DRAWS[name]
    logits = (torch.arange(1000, device=device) * 7919 % 1009) / 128
    prompt = range(0, 700, 7)
    rows = [a_sampling_row(i, history=(*prompt, *range(i)), **params) for i in range(20)]
    tokens = sample(load_kernels(backend), logits.repeat(20, 1), rows)
    assert [token.token_id for token in tokens] == [int(id_) for id_ in expected.split()]


def test_each_choice_draws_tokens_of_its_own_and_draws_them_again(kernels: Kernels) -> None:
    logits = some_logits(2000)[0]

    def tokens(choice: int) -> list[int | None]:
        return [sample_one(kernels, logits, i, seed=5, choice=choice).token_id for i in range(20)]

    draws = [tokens(choice) for choice in range(4)]
    assert draws == [tokens(choice) for choice in range(4)]
    assert len({tuple(some) for some in draws}) == 4


# Greedy.


def test_greedy_takes_the_lowest_id_among_equal_maxima(kernels: Kernels) -> None:
    logits = torch.zeros(3000)
    logits[[1700, 40, 2999]] = 5.0
    assert sample_one(kernels, logits, temperature=0).token_id == 40


def test_greedy_ignores_filters_and_seed(kernels: Kernels) -> None:
    logits = some_logits()[0]
    token = sample_one(kernels, logits, temperature=0, top_k=3, top_p=0.1, min_p=0.5, seed=9)
    assert token.token_id == int(logits.argmax())


# Draws against exact probabilities.


def exact_probabilities(logits: Tensor, params: SamplingParams) -> NDArray[np.float64]:
    """The definition of each filter, one token after the other, in float64."""
    scaled = logits.double().numpy() / params.temperature
    probabilities: NDArray[np.float64] = np.exp(scaled - scaled.max())
    probabilities /= probabilities.sum()
    order = np.argsort(-probabilities, kind="stable")
    if params.top_k:
        least = probabilities[order[: params.top_k]].min()
        probabilities = np.where(probabilities >= least, probabilities, 0)
    total, mass, least = probabilities.sum(), 0.0, 0.0
    for token in order:
        if mass >= params.top_p * total:
            break
        mass, least = mass + probabilities[token], probabilities[token]
    if params.top_p < 1:
        probabilities = np.where(probabilities >= least, probabilities, 0)
    probabilities[probabilities < params.min_p * probabilities.max()] = 0
    probabilities /= probabilities.sum()
    return probabilities


FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "temperature": {"temperature": 0.5},
    "hot": {"temperature": 3.0},
    "top-k": {"top_k": 5},
    "top-p": {"top_p": 0.7},
    "min-p": {"min_p": 0.1},
    "all": {"temperature": 1.5, "top_k": 12, "top_p": 0.9, "min_p": 0.08},
}


@pytest.mark.parametrize("name", FILTERS)
def test_draws_follow_the_exact_probabilities(kernels: Kernels, name: str) -> None:
    logits = some_logits(vocab=30)[0]
    num_draws = 20_000
    rows = [
        a_sampling_row(num_generated=seed % 7, seed=seed, **FILTERS[name])
        for seed in range(num_draws)
    ]

    tokens = Counter(t.token_id for t in sample(kernels, logits.repeat(num_draws, 1), rows))

    expected = num_draws * exact_probabilities(logits, a_params(**FILTERS[name]))
    counts = np.array([tokens[token] for token in range(30)])
    assert not counts[expected == 0].any()
    kept = expected > 0
    distance = ((counts[kept] - expected[kept]) ** 2 / expected[kept]).sum()
    degrees = kept.sum() - 1
    assert distance < degrees + 4 * math.sqrt(2 * degrees) + 4


def a_params(**params: Any) -> SamplingParams:
    return SamplingParams(**({"max_tokens": 100} | params))


@settings(max_examples=60, deadline=None)
@given(
    vocab=st.sampled_from([7, 64, 3000]),
    levels=st.integers(2, 100),  # few levels: many ties, also at the edge of the window
    params=st.fixed_dictionaries(
        {
            "temperature": st.sampled_from([0.3, 1.0, 20.0]),
            "top_k": st.sampled_from([0, 1, 5, 1023, 1024, 1025, 2500]),
            "top_p": st.sampled_from([1e-6, 0.3, 0.9, 0.999, 1.0]),
            "min_p": st.sampled_from([0.0, 0.05, 1.0]),
        }
    ),
    seed=st.integers(0, 1000),
)
def test_each_draw_is_the_inverse_of_the_exact_distribution(
    kernels: Kernels, vocab: int, levels: int, params: dict[str, Any], seed: int
) -> None:
    logits = torch.randint(0, levels, (vocab,), generator=torch.Generator().manual_seed(seed)) / 8
    drawn = uniform(seed, 3)

    token = sample_one(kernels, logits, num_generated=3, seed=seed, **params).token_id

    assert token is not None
    cumulative = exact_probabilities(logits, a_params(**params)).cumsum()
    below = cumulative[token - 1] if token else 0.0
    assert below - 1e-5 <= drawn <= cumulative[token] + 1e-5


def test_a_row_draws_the_same_alone_and_in_any_batch(kernels: Kernels) -> None:
    logits = some_logits(2000, num_rows=8)
    rows = [
        a_sampling_row(
            num_generated=i,
            history=tuple(range(10 * i)),
            seed=i,
            temperature=i % 3,
            top_k=(i % 2) * 40,
            num_logprobs=i % 4,
            presence_penalty=i % 3,
            repetition_penalty=1 + i % 2,
            logit_bias=((5 * i, 9.0),) * (i % 2),
        )
        for i in range(8)
    ]
    together = sample(kernels, logits.clone(), rows)
    backwards = sample(kernels, logits.flip(0), rows[::-1])[::-1]
    alone = tuple(sample(kernels, logits[i : i + 1].clone(), [rows[i]])[0] for i in range(8))
    assert [t.token_id for t in together] == [t.token_id for t in alone]
    assert [t.token_id for t in together] == [t.token_id for t in backwards]


def test_position_and_seed_both_change_the_draw(kernels: Kernels) -> None:
    logits = torch.zeros(10_000)
    tokens = {
        sample_one(kernels, logits, num_generated=position, seed=seed).token_id
        for position in range(10)
        for seed in range(10)
    }
    assert len(tokens) > 95


@pytest.mark.parametrize("temperature", [1e-300, 1e-45, 1e-30, 1e-6])
def test_a_tiny_temperature_is_greedy(kernels: Kernels, temperature: float) -> None:
    logits = some_logits()[0]
    assert sample_one(kernels, logits, temperature=temperature).token_id == int(logits.argmax())


def test_top_k_keeps_tokens_that_equal_the_last_kept(kernels: Kernels) -> None:
    logits = torch.tensor([0.0, 3.0, 1.0, 3.0, 3.0])
    tokens = {sample_one(kernels, logits, seed=seed, top_k=2).token_id for seed in range(100)}
    assert tokens == {1, 3, 4}


# Minimum length, log probabilities, broken rows.


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_stop_tokens_wait_for_min_tokens(kernels: Kernels, temperature: float) -> None:
    logits = torch.tensor([0.0, 9.0, 100.0, 100.0])
    params = {"temperature": temperature, "min_tokens": 2, "stop_token_ids": (2, 3)}
    assert sample_one(kernels, logits, num_generated=1, **params).token_id == 1
    assert sample_one(kernels, logits, num_generated=2, **params).token_id in (2, 3)


def test_logprobs_are_those_of_the_model(kernels: Kernels) -> None:
    logits = some_logits()[0]
    expected = logits.log_softmax(-1)
    best = expected.argsort(descending=True)[:3].tolist()

    token = sample_one(
        kernels,
        logits,
        temperature=2.0,
        top_k=5,
        num_logprobs=3,
        min_tokens=1,
        stop_token_ids=(best[0],),
        repetition_penalty=2.0,
        history=tuple(best),
        logit_bias=((best[1], -2.0), (7, 9.0)),
    )

    assert token.token_id is not None and token.token_id != best[0]
    assert token.logprob == pytest.approx(float(expected[token.token_id]))
    assert [id_ for id_, _ in token.top] == best
    assert [lp for _, lp in token.top] == pytest.approx(expected[best].tolist())


def test_no_logprobs_unless_asked_for(kernels: Kernels) -> None:
    logits = some_logits()[0]
    assert sample_one(kernels, logits).logprob is None
    chosen_only = sample_one(kernels, logits, num_logprobs=0)
    assert chosen_only.logprob is not None and chosen_only.top == ()


def test_the_most_likely_tokens_of_equal_probability_come_in_order_of_id(kernels: Kernels) -> None:
    logits = torch.zeros(3000)
    assert [id_ for id_, _ in sample_one(kernels, logits, num_logprobs=4).top] == [0, 1, 2, 3]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_that_is_not_finite_has_no_token_and_harms_no_other(
    kernels: Kernels, bad: float, temperature: float
) -> None:
    logits = some_logits(2000, num_rows=3)
    rows = [
        a_sampling_row(temperature=temperature, seed=i, top_p=0.9, num_logprobs=1) for i in range(3)
    ]
    healthy = sample(kernels, logits.clone(), rows)
    logits[1, 1234] = bad

    tokens = sample(kernels, logits, rows)

    assert tokens[1] == SampledToken("r", None)
    assert (tokens[0], tokens[2]) == (healthy[0], healthy[2])
