"""What requests change about logits: each penalty, bias and minimum length as it is defined."""

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

from motet.engine.device.adjust import adjust
from motet.engine.device.sampler import sample
from motet.engine.plan import Row
from motet.engine.request import SamplingParams
from motet.kernels import reference
from tests.engine.factories import a_sampling_row

VOCAB = 12


def adjusted(logits: Tensor, *rows: Row) -> Tensor:
    """Every row begins with the same logits."""
    changed = logits.repeat(len(rows), 1)
    adjust(changed, rows, [params_of(row) for row in rows])
    return changed


def params_of(row: Row) -> SamplingParams:
    assert row.sampling is not None
    return row.sampling


def by_definition(logits: list[float], row: Row) -> list[float]:
    """One token after the other."""
    params = params_of(row)
    output = Counter(row.history[len(row.history) - row.num_generated :])
    changed = []
    for token, logit in enumerate(logits):
        if token in row.history:
            penalty = params.repetition_penalty
            logit = logit / penalty if logit > 0 else logit * penalty
        if token in output:
            logit -= params.presence_penalty + output[token] * params.frequency_penalty
        logit += dict(params.logit_bias).get(token, 0.0)
        if row.num_generated < params.min_tokens and token in params.stop_token_ids:
            logit = float("-inf")
        changed.append(logit)
    return changed


def some_rows() -> st.SearchStrategy[Row]:
    tokens = st.integers(0, VOCAB - 1)

    def a_row(prompt: list[int], output: list[int], params: dict[str, Any]) -> Row:
        return a_sampling_row(len(output), (*prompt, *output), **params)

    params = st.fixed_dictionaries(
        {
            "repetition_penalty": st.sampled_from([1.0, 1.3, 0.5]),
            "presence_penalty": st.sampled_from([0.0, 0.7, -2.0]),
            "frequency_penalty": st.sampled_from([0.0, 0.4, -0.1]),
            "logit_bias": st.dictionaries(tokens, st.sampled_from([-100.0, 1.5])).map(
                lambda bias: tuple(bias.items())
            ),
            "min_tokens": st.integers(0, 4),
            "stop_token_ids": st.sets(tokens, max_size=VOCAB - 1).map(tuple),
        }
    )
    return st.builds(a_row, st.lists(tokens, min_size=1), st.lists(tokens), params)


@settings(deadline=None)
@given(
    logits=st.lists(st.integers(-80, 80), min_size=VOCAB, max_size=VOCAB),
    rows=st.lists(some_rows(), min_size=1, max_size=5),
)
def test_every_row_of_a_batch_is_adjusted_as_defined(logits: list[int], rows: list[Row]) -> None:
    values = [logit / 8 for logit in logits]
    expected = torch.tensor([by_definition(values, row) for row in rows])
    torch.testing.assert_close(adjusted(torch.tensor(values), *rows), expected)


@pytest.mark.parametrize("penalty", [0.8, 1.3, 2.0])
def test_the_repetition_penalty_is_that_of_transformers(penalty: float) -> None:
    logits = torch.linspace(-3, 3, 50)
    history = (3, 3, 17, 49, 25, 0)
    processor: Any = RepetitionPenaltyLogitsProcessor(penalty)
    expected = processor(torch.tensor([history]), logits.unsqueeze(0).clone())
    ours = adjusted(logits, a_sampling_row(2, history, repetition_penalty=penalty))
    assert torch.equal(ours, expected)


def test_a_row_that_wants_nothing_keeps_its_logits() -> None:
    logits = torch.linspace(-3, 3, VOCAB)
    plain = a_sampling_row(5, min_tokens=5, stop_token_ids=(3,), temperature=0.3, top_p=0.5)
    penalised = a_sampling_row(1, (3, 3), frequency_penalty=1.0, repetition_penalty=2.0)
    assert torch.equal(adjusted(logits, plain, penalised)[0], logits)


@pytest.mark.parametrize(
    ("params", "chosen"),
    [
        ({}, 4),
        ({"repetition_penalty": 2.0}, 3),
        ({"presence_penalty": 1.5}, 3),
        ({"frequency_penalty": 0.8}, 3),
        ({"logit_bias": ((9, 30.0),)}, 9),
        ({"logit_bias": ((4, -100.0),)}, 3),
    ],
)
def test_greedy_heeds_penalties_and_biases(params: dict[str, Any], chosen: int) -> None:
    logits = torch.zeros(1, VOCAB)
    logits[0, [3, 4]] = torch.tensor([9.0, 10.0])
    row = a_sampling_row(2, (1, 4, 4), temperature=0, **params)
    assert sample(reference, logits, [row])[0].token_id == chosen


def test_no_bias_brings_back_a_stop_token_before_min_tokens() -> None:
    row = a_sampling_row(min_tokens=1, stop_token_ids=(2,), logit_bias=((2, 100.0),))
    assert adjusted(torch.zeros(VOCAB), row)[0, 2] == -torch.inf


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_where_every_token_stops_one_of_them_is_chosen(temperature: float) -> None:
    logits = torch.zeros(1, VOCAB)
    logits[0, 7] = 50.0
    stops = tuple(range(VOCAB))
    row = a_sampling_row(min_tokens=9, stop_token_ids=stops, temperature=temperature)
    assert sample(reference, logits, [row])[0].token_id == 7


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize(
    "params",
    [
        {"repetition_penalty": 1e-300},
        {"repetition_penalty": 1e300},
        {"presence_penalty": -1e300},
        {"frequency_penalty": 1e300},
        {"logit_bias": ((0, 1e300), (1, -1e300))},
        {"logit_bias": tuple((token, -1e300) for token in range(VOCAB))},
    ],
)
def test_no_number_however_large_leaves_a_row_without_a_token(
    params: dict[str, Any], temperature: float
) -> None:
    logits = torch.linspace(-5, 6, VOCAB).unsqueeze(0)  # 0 is at 5
    row = a_sampling_row(2, (1, 11, 5, 5), temperature=temperature, **params)
    token = sample(reference, logits, [row])[0].token_id
    assert token is not None and 0 <= token < VOCAB


def test_tokens_beyond_the_vocabulary_are_passed_over() -> None:
    logits = torch.linspace(-3, 3, VOCAB)
    params: dict[str, Any] = {"presence_penalty": 1.0, "min_tokens": 9}
    beyond = a_sampling_row(
        1, (5, VOCAB), stop_token_ids=(0, VOCAB), logit_bias=((VOCAB, 3.0),), **params
    )
    within = a_sampling_row(0, (5,), stop_token_ids=(0,), **params)
    assert torch.equal(adjusted(logits, beyond), adjusted(logits, within))
