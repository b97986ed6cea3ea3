"""Changes logits as requests want before a token is chosen: penalties, biases, minimum lengths.

Only the logits concerned are touched, so a row that wants nothing costs nothing. Ids beyond the
vocabulary are passed over: such a token cannot be chosen anyway.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motet.engine.plan import Row
from motet.engine.request import SamplingParams

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def adjust(logits: Tensor, rows: Sequence[Row], params: Sequence[SamplingParams]) -> None:
    """Apply all that `params` ask for to fp32 `[len(rows), vocab]`, in place.

    Penalties come first, then biases; both leave finite logits finite. Then the stop tokens of
    rows that are too short to end become impossible.
    """
    vocab = logits.shape[-1]
    _penalise(logits, rows, params)
    _add_biases(logits, params)
    masked = [
        (index, token)
        for index, (row, p) in enumerate(zip(rows, params, strict=True))
        if row.num_generated < p.min_tokens
        for token in _maskable(p, vocab)
    ]
    if masked:
        logits[_places(masked, logits.device)] = -torch.inf


def _penalise(logits: Tensor, rows: Sequence[Row], params: Sequence[SamplingParams]) -> None:
    """Repetition penalty (Keskar et al., arXiv:1909.05858) on all tokens of the history, then
    presence and frequency penalties on those of the output."""
    places: list[Ints] = []
    divisors: list[Floats] = []
    losses: list[Floats] = []
    for index, (row, p) in enumerate(zip(rows, params, strict=True)):
        if p.has_penalties:
            tokens, counts = _count(row, logits.shape[-1])
            places.append(np.stack((np.full_like(tokens, index), tokens), axis=1))
            divisors.append(np.full(len(tokens), p.repetition_penalty))
            losses.append(p.presence_penalty * (counts > 0) + p.frequency_penalty * counts)
    if places:
        at = _places(np.concatenate(places), logits.device)
        old, divisor = logits[at], _like(logits, np.concatenate(divisors))
        kept = torch.where(old > 0, old / divisor, old * divisor)
        logits[at] = _finite(kept - _like(logits, np.concatenate(losses)))


def _count(row: Row, vocab: int) -> tuple[Ints, Ints]:
    """The distinct tokens of a row's history, and how often each is in the output."""
    history = np.array(row.history, np.int64)
    tokens, place = np.unique(history, return_inverse=True)
    counts = np.bincount(place[len(place) - row.num_generated :], minlength=len(tokens))
    is_known = tokens < vocab
    return tokens[is_known], counts[is_known]


def _add_biases(logits: Tensor, params: Sequence[SamplingParams]) -> None:
    vocab = logits.shape[-1]
    biased = [
        (index, token, bias)
        for index, p in enumerate(params)
        for token, bias in p.logit_bias
        if token < vocab
    ]
    if biased:
        at = _places([(index, token) for index, token, _ in biased], logits.device)
        logits[at] = _finite(logits[at] + _like(logits, [bias for *_, bias in biased]))


def _maskable(params: SamplingParams, vocab: int) -> Iterable[int]:
    """Stop tokens to make impossible: none if nothing else were left, since one must be chosen."""
    tokens = {token for token in params.stop_token_ids if token < vocab}
    return tokens if len(tokens) < vocab else ()


def _places(pairs: Sequence[tuple[int, int]] | Ints, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pairs of (row, token) as an index into logits."""
    row, token = torch.as_tensor(pairs, dtype=torch.int64, device=device).unbind(1)
    return row, token


def _like(logits: Tensor, values: Sequence[float] | Floats) -> Tensor:
    return _finite(torch.as_tensor(values, dtype=logits.dtype, device=logits.device))


def _finite(values: Tensor) -> Tensor:
    """Without infinities: their difference would be no number at all."""
    limits = torch.finfo(values.dtype)
    return values.clamp(limits.min, limits.max)
