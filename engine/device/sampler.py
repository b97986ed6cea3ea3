"""Chooses tokens: equal logits and equal seeds give equal tokens, whoever shares the batch.

Each row draws one uniform number from a counter, not from a stream of random numbers, so what is
drawn depends on nothing but (seed, position, choice).
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from motet.engine.plan import Row, SampledToken
from motet.engine.request import SamplingParams

WINDOW = 1024
"""Most likely tokens that are looked at before all of them are sorted."""

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def sample(logits: Tensor, rows: Sequence[Row]) -> tuple[SampledToken, ...]:
    """The next token of each row. `logits` is fp32 `[len(rows), vocab]` and is overwritten.

    Log probabilities are those of the model: before temperature, filters and masks.
    """
    extremes = torch.stack((logits.amin(dim=-1), logits.amax(dim=-1)))  # both propagate NaN
    is_finite = extremes.isfinite().all(dim=0).tolist()
    logprobs = _logprobs(logits, rows)
    _mask_stop_tokens(logits, rows)
    token_ids = _choose(logits, rows).tolist()
    return tuple(
        _sampled(row, token_id, logprobs.get(index))
        if finite
        else SampledToken(row.request_id, None)
        for index, (row, token_id, finite) in enumerate(
            zip(rows, token_ids, is_finite, strict=True)
        )
    )


def uniform(seed: int, position: int, choice: int = 0) -> float:
    """A number in [0, 1): the top 53 bits of three chained rounds of SplitMix64.

    SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014) adds
    the golden ratio to its state, then mixes; here each input is added to the state as well.
    """
    state = 0
    for value in (seed, position, choice):
        state = _mix((state + value + _GOLDEN) & _MASK)
    return (state >> 11) * 2.0**-53


def _mix(bits: int) -> int:
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return bits ^ (bits >> 31)


def _mask_stop_tokens(logits: Tensor, rows: Sequence[Row]) -> None:
    """Rows that are still too short cannot end."""
    masked = [
        (index, token_id)
        for index, row in enumerate(rows)
        if row.num_generated < _params(row).min_tokens
        for token_id in _params(row).stop_token_ids
    ]
    if masked:
        row_index, token_ids = torch.tensor(masked, device=logits.device).unbind(1)
        logits[row_index, token_ids] = -torch.inf


def _choose(logits: Tensor, rows: Sequence[Row]) -> Tensor:
    """Greedy for all rows at once (argmax takes the first of equal maxima), then the others."""
    token_ids = logits.argmax(dim=-1)
    drawn = [index for index, row in enumerate(rows) if _params(row).temperature > 0]
    if drawn:
        token_ids[drawn] = _draw(logits[drawn], [rows[index] for index in drawn])
    return token_ids


def _draw(logits: Tensor, rows: Sequence[Row]) -> Tensor:
    """Inverse CDF in the order of token ids over the kept tokens; overwrites `logits`."""
    params = [_params(row) for row in rows]
    # A temperature below the smallest normal float would be flushed to 0 and give 0 / 0.
    tiny = torch.finfo(torch.float32).tiny
    temperature = _column((max(p.temperature, tiny) for p in params), logits)
    scaled = logits.sub_(logits.amax(dim=-1, keepdim=True)).div_(temperature)  # the largest is 0
    weights = scaled.exp()
    weights *= scaled >= _threshold(scaled, weights, params)
    cumulative = weights.cumsum(dim=-1, dtype=torch.float64)  # exact enough for any vocabulary
    draws = [uniform(p.seed, row.num_generated) for p, row in zip(params, rows, strict=True)]
    drawn = _column(draws, cumulative) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, drawn, right=True).squeeze(-1)


def _threshold(scaled: Tensor, weights: Tensor, params: Sequence[SamplingParams]) -> Tensor:
    """The smallest kept value of each row, `[n, 1]`: tokens of equal value stay or go together.

    top-k comes first, top-p counts in what top-k left, and min-p asks for a share of the largest
    probability. `weights` is `scaled.exp()`.
    """
    threshold = _column((math.log(p.min_p) if p.min_p > 0 else -math.inf for p in params), scaled)
    vocab = scaled.shape[-1]
    ranked = [i for i, p in enumerate(params) if 0 < p.top_k < vocab or p.top_p < 1]
    if ranked:
        by_order = _order_threshold(scaled[ranked], weights[ranked], [params[i] for i in ranked])
        threshold[ranked] = torch.maximum(threshold[ranked], by_order)
    return threshold


def _order_threshold(scaled: Tensor, weights: Tensor, params: Sequence[SamplingParams]) -> Tensor:
    """The threshold of top-k and top-p: from the top of each row, from all of it if need be."""
    vocab = scaled.shape[-1]
    top = scaled.topk(min(WINDOW, vocab), dim=-1).values
    threshold, is_sure = _sorted_threshold(top, scaled, weights, params)
    unsure = (~is_sure).nonzero()[:, 0]
    if len(unsure):
        scaled, weights = scaled[unsure], weights[unsure]
        params = [params[i] for i in unsure.tolist()]
        top = scaled.sort(dim=-1, descending=True).values
        threshold[unsure], _ = _sorted_threshold(top, scaled, weights, params)
    return threshold


def _sorted_threshold(
    top: Tensor, scaled: Tensor, weights: Tensor, params: Sequence[SamplingParams]
) -> tuple[Tensor, Tensor]:
    """The threshold of each row and whether it is sure, `[n, 1]` and `[n]`.

    `top` holds the largest values of `scaled` in falling order. They suffice when they reach as
    far as top-k counts and hold the mass that top-p wants.
    """
    vocab, window = scaled.shape[-1], top.shape[-1]
    top_k = torch.tensor([[min(p.top_k or vocab, vocab)] for p in params], device=top.device)
    has_top_k, has_top_p = top_k < vocab, _column((p.top_p for p in params), top) < 1
    by_rank = top.gather(-1, top_k.clamp(max=window) - 1).masked_fill_(~has_top_k, -torch.inf)

    mass = (top.exp() * (top >= by_rank)).cumsum(dim=-1, dtype=torch.float64)
    total = (weights * (scaled >= by_rank)).sum(-1, keepdim=True, dtype=torch.float64)
    wanted = _column((p.top_p for p in params), total) * total
    # The nucleus is the shortest head of the order that holds at least top_p of the mass.
    head = torch.searchsorted(mass, wanted).clamp_(max=window - 1)
    by_mass = top.gather(-1, head).masked_fill_(~has_top_p, -torch.inf)

    reaches_rank = ~has_top_k | (top_k <= window)
    holds_mass = ~has_top_p | (mass[:, -1:] >= wanted)
    is_sure = (reaches_rank & holds_mass) | (window == vocab)
    return torch.maximum(by_rank, by_mass), is_sure.squeeze(-1)


def _logprobs(logits: Tensor, rows: Sequence[Row]) -> dict[int, Tensor]:
    """Log probabilities of the rows that report them, each `[vocab]`."""
    wanted = [index for index, row in enumerate(rows) if _params(row).num_logprobs is not None]
    if not wanted:
        return {}
    return dict(zip(wanted, logits[wanted].log_softmax(dim=-1), strict=True))


def _sampled(row: Row, token_id: int, logprobs: Tensor | None) -> SampledToken:
    if logprobs is None:
        return SampledToken(row.request_id, token_id)
    count = min(_params(row).num_logprobs or 0, len(logprobs))
    return SampledToken(row.request_id, token_id, float(logprobs[token_id]), _best(logprobs, count))


def _best(logprobs: Tensor, count: int) -> tuple[tuple[int, float], ...]:
    """The `count` largest, best first, lower ids first among equals."""
    if count == 0:
        return ()
    smallest = logprobs.topk(count).values[-1]
    candidates = (logprobs >= smallest).nonzero().squeeze(-1)
    pairs = zip(candidates.tolist(), logprobs[candidates].tolist(), strict=True)
    return tuple(sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:count])


def _column(values: Iterable[float], like: Tensor) -> Tensor:
    """One value for each row, `[n, 1]`, in the dtype and on the device of `like`."""
    return torch.tensor(list(values), dtype=like.dtype, device=like.device).unsqueeze(-1)


def _params(row: Row) -> SamplingParams:
    assert row.sampling is not None
    return row.sampling
