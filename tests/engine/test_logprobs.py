"""Logprobs of prompts: the model's own, in slices, whoever else asks."""

import math

import pytest
import torch
from torch import Tensor

from motet.engine.device.logprobs import SLICE_ROWS, score
from motet.engine.plan import PromptScores
from tests.engine.factories import a_scored_row

VOCAB = 300


class Head:
    """Hidden states are logits already; counts how many are asked for at once."""

    def __init__(self, hidden: Tensor) -> None:
        self.hidden = hidden
        self.num_rows: list[int] = []

    def logits(self, part: slice) -> Tensor:
        logits = self.hidden[part].clone()
        self.num_rows.append(len(logits))
        return logits


def some_hidden(num_rows: int) -> Tensor:
    return torch.randn(num_rows, VOCAB, generator=torch.Generator().manual_seed(0)) * 2


def test_every_target_has_the_logprob_that_the_model_gives_it() -> None:
    rows = [
        a_scored_row(range(7, 20), num_logprobs=3, request_id="a"),
        a_scored_row(range(2 * SLICE_ROWS), num_logprobs=1, request_id="b"),
        a_scored_row([299], num_logprobs=0, request_id="c"),
    ]
    counts = [13, 2 * SLICE_ROWS, 1]
    hidden = some_hidden(sum(counts))
    expected = torch.split(hidden.log_softmax(-1), counts)

    scores = score(Head(hidden).logits, 0, rows)

    assert [score.request_id for score in scores] == ["a", "b", "c"]
    for row, found, theirs in zip(rows, scores, expected, strict=True):
        assert row.targets is not None and found.logprobs is not None
        best = theirs.sort(dim=-1, descending=True)
        num_top = row.targets.num_logprobs
        for i, (token, ours) in enumerate(zip(row.targets.tokens, found.logprobs, strict=True)):
            assert ours.logprob == pytest.approx(float(theirs[i, token]))
            assert [id_ for id_, _ in ours.top] == best.indices[i, :num_top].tolist()
            assert [lp for _, lp in ours.top] == pytest.approx(best.values[i, :num_top].tolist())


def test_logits_exist_for_one_slice_at_a_time() -> None:
    num_targets = 2 * SLICE_ROWS + 5
    head = Head(some_hidden(num_targets))
    score(head.logits, 0, [a_scored_row([1] * num_targets)])
    assert head.num_rows == [SLICE_ROWS, SLICE_ROWS, 5]


def test_without_targets_the_model_is_not_asked() -> None:
    head = Head(some_hidden(0))
    assert score(head.logits, 0, []) == ()
    assert head.num_rows == []


def test_the_states_of_targets_begin_behind_those_that_are_sampled_from() -> None:
    hidden = some_hidden(5)
    alone = score(Head(hidden[3:]).logits, 0, [a_scored_row([7, 8])])
    assert score(Head(hidden).logits, 3, [a_scored_row([7, 8])]) == alone


def test_the_most_likely_of_equal_probability_come_in_order_of_id() -> None:
    hidden = torch.zeros(2, VOCAB)
    hidden[1, [250, 40]] = 1.0
    (scores,) = score(Head(hidden).logits, 0, [a_scored_row([5, 6], num_logprobs=4)])
    assert scores.logprobs is not None
    assert [[id_ for id_, _ in one.top] for one in scores.logprobs] == [
        [0, 1, 2, 3],
        [40, 250, 0, 1],
    ]


def test_more_alternatives_than_tokens_are_all_of_them() -> None:
    (scores,) = score(Head(some_hidden(1)).logits, 0, [a_scored_row([5], num_logprobs=VOCAB + 1)])
    assert scores.logprobs is not None
    assert len(scores.logprobs[0].top) == VOCAB


def test_a_target_beyond_the_vocabulary_is_impossible() -> None:
    (scores,) = score(Head(some_hidden(2)).logits, 0, [a_scored_row([VOCAB, 5])])
    assert scores.logprobs is not None
    assert scores.logprobs[0].logprob == -math.inf
    assert math.isfinite(scores.logprobs[1].logprob)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_prompt_that_is_not_finite_has_no_scores_and_harms_no_other(bad: float) -> None:
    rows = [a_scored_row([1, 2], request_id=name, num_logprobs=2) for name in "abc"]
    hidden = some_hidden(6)
    healthy = score(Head(hidden).logits, 0, rows)
    hidden[3, 123] = bad

    scores = score(Head(hidden).logits, 0, rows)

    assert scores == (healthy[0], PromptScores("b", None), healthy[2])
